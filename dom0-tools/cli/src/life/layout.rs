//! What stands in the store for a domain beside its devices, as libxl lays it out.

use xenctrl::DomId;
use xl_config::{DomainConfig, Uuid};

use super::nodes::{Nodes, Owner};

/// Bytes of console output that the console daemon keeps for a reader.
const CONSOLE_LIMIT: u32 = 1 << 20;

/// Where a domain's rings are, as the builder has placed them.
#[derive(Clone, Copy, Debug)]
pub struct Rings {
    /// Machine frame of the console's ring.
    pub console_frame: u64,
    /// The domain's console port.
    pub console_port: u32,
    /// Machine frame of the store's ring.
    pub store_frame: u64,
    /// The domain's store port.
    pub store_port: u32,
}

/// The directory of a domain.
pub fn domain_path(domid: DomId) -> String {
    format!("/local/domain/{domid}")
}

/// The directory that lasts as long as a domain's UUID.
pub fn vm_path(uuid: Uuid) -> String {
    format!("/vm/{uuid}")
}

/// The toolstack's own directory for a domain.
pub fn toolstack_path(domid: DomId) -> String {
    format!("/libxl/{domid}")
}

/// The nodes of a domain that has no memory yet. `start_time` is in seconds since 1970, with a fraction.
pub fn base(domid: DomId, uuid: Uuid, config: &DomainConfig, start_time: &str) -> Nodes {
    let mut nodes = Nodes::default();
    let path = domain_path(domid);
    let vm = vm_path(uuid);
    nodes.directory(&*vm, Owner::ReadBy(domid));
    nodes.below(
        &vm,
        &[
            ("name", config.name.clone()),
            ("uuid", uuid.to_string()),
            ("image/ostype", "linux".into()),
            ("image/kernel", config.boot.kernel.clone()),
            ("image/cmdline", config.boot.command_line.clone()),
            ("start_time", start_time.into()),
        ],
    );
    if let Some(ramdisk) = &config.boot.ramdisk {
        nodes.put(format!("{vm}/image/ramdisk"), ramdisk);
    }
    nodes.directory(&*path, Owner::ReadBy(domid));
    nodes.below(
        &path,
        &[
            ("vm", vm),
            ("name", config.name.clone()),
            ("domid", domid.to_string()),
            ("memory/static-max", config.max_memory_kib.to_string()),
            ("memory/target", config.memory_kib.to_string()),
            ("memory/videoram", "0".into()),
            ("device", String::new()),
            ("control/platform-feature-multiprocessor-suspend", "1".into()),
            ("control/platform-feature-xs_reset_watches", "1".into()),
        ],
    );
    for vcpu in 0..config.max_vcpus {
        let availability = if vcpu < config.vcpus { "online" } else { "offline" };
        nodes.put(format!("{path}/cpu/{vcpu}/availability"), availability);
    }
    for name in [
        "shutdown",
        "feature-poweroff",
        "feature-reboot",
        "feature-suspend",
        "sysrq",
    ] {
        nodes.directory(format!("{path}/control/{name}"), Owner::Of(domid));
    }
    for name in [
        "data",
        "drivers",
        "feature",
        "attr",
        "error",
        "device/suspend/event-channel",
    ] {
        nodes.directory(format!("{path}/{name}"), Owner::Of(domid));
    }
    let toolstack = toolstack_path(domid);
    nodes.put(format!("{toolstack}/type"), "pv");
    nodes.put(format!("{toolstack}/dm-version"), "qemu_xen");
    nodes
}

/// The nodes that name a domain's rings, for its kernel, the store's daemon and the console's.
pub fn rings(domid: DomId, rings: &Rings) -> Nodes {
    let mut nodes = Nodes::default();
    let path = domain_path(domid);
    let console = format!("{path}/console");
    let backend = format!("/local/domain/0/backend/console/{domid}/0");
    nodes.directory(&*backend, Owner::ReadBy(domid));
    let device = [
        ("frontend", console.clone()),
        ("frontend-id", domid.to_string()),
        ("online", "1".into()),
        ("state", "1".into()),
        ("protocol", "vt100".into()),
    ];
    nodes.below(&backend, &device);
    let toolstack = format!("{}/device/console/0", toolstack_path(domid));
    nodes.put(format!("{toolstack}/backend"), &backend);
    nodes.below(&toolstack, &device);
    nodes.below(
        &path,
        &[
            ("store/port", rings.store_port.to_string()),
            ("store/ring-ref", rings.store_frame.to_string()),
        ],
    );
    nodes.put(format!("{console}/backend"), &backend);
    nodes.put_owned(format!("{console}/backend-id"), 0, Owner::OfReadBy(domid, 0));
    nodes.below(
        &console,
        &[
            ("limit", CONSOLE_LIMIT.to_string()),
            ("type", "xenconsoled".into()),
            ("output", "pty".into()),
            ("tty", String::new()),
            ("port", rings.console_port.to_string()),
            ("ring-ref", rings.console_frame.to_string()),
        ],
    );
    nodes
}
