//! Serving devices from this domain: connecting what a toolstack in another domain has announced here.
//!
//! The toolstack writes the nodes of backends; the kernel's backends take them up; what is left, and what this does, is
//! to open disks and to connect interfaces, as `xlr create` does for devices that Domain-0 serves.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use anyhow::{Context, Result};
use privcmd::{LoopControl, LoopOptions};
use xen_abi::XenbusState as State;
use xenctrl::DomId;
use xenstore_client::{Client, Store};
use xl_config::{Vif, VifMode};

use super::DEVICE_TIME;
use super::devices::backend::state;
use super::devices::presence::Presence;
use super::devices::{Class, Device, hotplug, network, vif};
use crate::{failure, message};

const TOKEN: &str = "xlr-devd";

/// Serves until an error ends it.
pub fn serve(store: &mut Client, own: DomId) -> Result<()> {
    let root = format!("/local/domain/{own}/backend");
    store.watch(&root, TOKEN)?;
    let mut served: HashMap<Device, Undo> = HashMap::new();
    loop {
        let present = devices_at(store, own)?;
        for device in &present {
            if !served.contains_key(device) && state(store, device)? == State::InitWait {
                served.insert(*device, serve_one(store, device));
            }
        }
        served.retain(|device, undo| {
            let stays = present.contains(device);
            if !stays {
                undo.run(device);
            }
            stays
        });
        store.wait_event(None)?;
        while store.next_event()?.is_some() {}
    }
}

/// What is left to do when a device has gone.
enum Undo {
    Nothing,
    Network { name: String, mode: VifMode },
}

impl Undo {
    fn run(&self, device: &Device) {
        message::say(format_args!("devd: {device} has gone"));
        if let Self::Network { name, mode } = self {
            network::disconnect(name, *mode);
        }
    }
}

fn devices_at(store: &mut Client, own: DomId) -> Result<HashSet<Device>> {
    let mut devices = HashSet::new();
    for class in [Class::Vbd, Class::Vif] {
        let root = format!("/local/domain/{own}/backend/{}", class.backend_name());
        for domain in store.directory_or_empty(&root)? {
            for number in store.directory_or_empty(&format!("{root}/{domain}"))? {
                if let (Ok(domid), Ok(devid)) = (domain.parse(), number.parse()) {
                    devices.insert(Device {
                        class,
                        domid,
                        devid,
                        backend_domid: own,
                    });
                }
            }
        }
    }
    Ok(devices)
}

/// Connects a device. A refusal is written where the toolstack looks for it.
fn serve_one(store: &mut Client, device: &Device) -> Undo {
    let result = match device.class {
        Class::Vif => serve_vif(store, device),
        Class::Vbd | Class::Qdisk => serve_disk(store, device).map(|()| Undo::Nothing),
    };
    result.unwrap_or_else(|error| {
        message::say(format_args!("devd: {device}: {}", failure::text(&error)));
        let path = device.backend();
        let told = store.write(&format!("{path}/hotplug-error"), format!("{error:#}"));
        let told = told.and_then(|()| store.write(&format!("{path}/hotplug-status"), "error"));
        if let Err(error) = told {
            message::say(format_args!("devd: {device}: {error}"));
        }
        Undo::Nothing
    })
}

fn serve_vif(store: &mut Client, device: &Device) -> Result<Undo> {
    let path = device.backend();
    let mut words = Vec::new();
    let mode = store.read_optional(&format!("{path}/{}", vif::MODE_NODE))?;
    let by_script = mode.is_none().then_some("script");
    for key in ["mac", "bridge", "ip", "vifname", "gatewaydev", "mtu"]
        .into_iter()
        .chain(by_script)
    {
        if let Some(value) = store
            .read_optional(&format!("{path}/{key}"))?
            .filter(|value| !value.is_empty())
        {
            words.push(format!("{key}={value}"));
        }
    }
    words.extend(mode.filter(|mode| mode != "bridge"));
    let vif: Vif = words.join(",").parse().map_err(anyhow::Error::msg)?;
    let name = vif::name_of(device, vif.vifname.as_deref());
    if let Some(script) = &vif.script {
        let script = hotplug::find_script(script)?;
        hotplug::run_vif(&script, device, &name, &vif, "online")?;
        return Ok(Undo::Nothing);
    }
    network::check(&vif)?;
    let mtu = vif
        .mtu
        .or_else(|| network::mtu_of(vif::bridge_of(&vif)?))
        .unwrap_or(1500);
    network::connect(device, &name, &vif, mtu)?;
    store.write(&format!("{path}/hotplug-status"), "connected")?;
    Ok(Undo::Network { name, mode: vif.mode })
}

fn serve_disk(store: &mut Client, device: &Device) -> Result<()> {
    let path = device.backend();
    if store.exists(&format!("{path}/physical-device"))? {
        return Ok(());
    }
    if let Some(script) = store.read_optional(&format!("{path}/script"))? {
        return hotplug::run_block(&hotplug::find_script(&script)?, device, "add");
    }
    let target = store.read_text(&format!("{path}/params")).context("it has no target")?;
    let writable = store
        .read_optional(&format!("{path}/mode"))?
        .is_some_and(|mode| mode.starts_with('w'));
    let data = fs::metadata(&target).with_context(|| format!("cannot open {target}"))?;
    let mut number = data.rdev();
    let mut held = None;
    if !data.file_type().is_block_device() {
        let options = LoopOptions {
            read_only: !writable,
            auto_clear: true,
            direct_io: false,
        };
        let (file, node) = LoopControl::open()?.attach(Path::new(&target), options)?;
        number = file.metadata()?.rdev();
        store.write(&format!("{path}/node"), node.display().to_string())?;
        held = Some(file);
    }
    let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
    store.write(&format!("{path}/physical-device"), format!("{major:x}:{minor:x}"))?;
    store.write(&format!("{path}/hotplug-status"), "connected")?;
    // The loop device goes by itself once nobody holds it: the kernel must hold it before this does no more.
    let opened = Presence::new().wait(std::time::Instant::now() + DEVICE_TIME, |presence| {
        presence.has_opened(device)
    });
    drop(held);
    anyhow::ensure!(opened, "the kernel did not open {target}");
    Ok(())
}
