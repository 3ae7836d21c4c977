//! Disks: from what the configuration names to a block device that the kernel's backend can open.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use privcmd::{LoopControl, LoopOptions};
use xen_abi::XenbusState;
use xenctrl::DomId;
use xenstore_client::{Client, Store};
use xl_config::{BackendType, Disk, DiskFormat};

use super::presence::{Presence, has_driver};
use super::{Class, Device, backend, blkd, hotplug};
use crate::life::nodes::Nodes;

/// What stands behind a disk.
#[derive(Debug)]
enum Backing {
    /// A block device, by number; the file keeps a fresh loop device from going.
    Block {
        major: u64,
        minor: u64,
        path: String,
        node: Option<String>,
        _held: Option<File>,
    },
    /// A file that a process serves.
    Process,
    /// Something that a script turns into a block device.
    Script(String),
    /// Nothing here: an empty drive, or another domain's affair.
    Elsewhere,
}

/// A disk that is ready to be announced.
#[derive(Debug)]
pub struct PreparedDisk {
    /// The device.
    pub device: Device,
    backing: Backing,
    disk: Disk,
}

impl PreparedDisk {
    /// Finds or makes what stands behind `disk`. A loop device made here goes by itself when nobody holds it.
    pub fn new(store: &mut impl Store, disk: &Disk, domid: DomId, backend_domid: DomId) -> Result<Self> {
        let backing = if backend_domid != 0 {
            Backing::Elsewhere
        } else if let Some(script) = &disk.script {
            Backing::Script(hotplug::find_script(script)?)
        } else if let Some(target) = &disk.target {
            check_sharing(store, disk, target)?;
            open_target(disk, target)?
        } else {
            Backing::Elsewhere
        };
        let class = if matches!(backing, Backing::Process) {
            Class::Qdisk
        } else {
            Class::Vbd
        };
        if class == Class::Vbd && backend_domid == 0 && !has_driver("vbd") {
            bail!("no block backend is loaded; try: modprobe xen-blkback");
        }
        let device = Device {
            class,
            domid,
            devid: disk.vdev.number,
            backend_domid,
        };
        Ok(Self {
            device,
            backing,
            disk: disk.clone(),
        })
    }

    /// What is written to announce it.
    pub fn nodes(&self) -> Nodes {
        let disk = &self.disk;
        let flag = |set: bool| u8::from(set).to_string();
        let params = disk.target.clone().unwrap_or_default();
        let mut own = vec![
            ("params", params),
            ("removable", flag(disk.cdrom)),
            ("bootable", "1".into()),
            ("dev", disk.vdev.name.clone()),
            (
                "type",
                if self.device.class == Class::Qdisk {
                    "qdisk".into()
                } else {
                    "phy".into()
                },
            ),
            ("mode", if disk.writable { "w".into() } else { "r".into() }),
            ("device-type", self.device_type().into()),
            ("discard-enable", flag(disk.discard.unwrap_or(disk.writable))),
            ("specification", "xen".into()),
        ];
        match &self.backing {
            Backing::Block {
                major,
                minor,
                path,
                node,
                ..
            } => {
                own.push(("physical-device", format!("{major:x}:{minor:x}")));
                own.push(("physical-device-path", path.clone()));
                own.extend(node.iter().map(|node| ("node", node.clone())));
                own.push(("hotplug-status", "connected".into()));
            }
            Backing::Process => {
                own.push(("direct-io-safe", flag(disk.direct_io_safe)));
                own.push(("format", format_name(disk.format).into()));
            }
            Backing::Script(script) => own.push(("script", script.clone())),
            Backing::Elsewhere => {}
        }
        let frontend = [
            ("virtual-device", disk.vdev.number.to_string()),
            ("device-type", self.device_type().into()),
            ("trusted", flag(disk.trusted)),
            ("protocol", "x86_64-abi".into()),
        ];
        self.device.nodes(&own, &frontend)
    }

    fn device_type(&self) -> &'static str {
        if self.disk.cdrom { "cdrom" } else { "disk" }
    }

    /// Waits until a backend holds the disk. After that nothing here is needed any more.
    pub fn finish(self, store: &mut Client, presence: &Presence, time: Duration) -> Result<()> {
        if self.device.class == Class::Qdisk && self.device.backend_domid == 0 && !cfg!(test) {
            blkd::ensure()?;
        }
        backend::wait_ready(store, &self.device, time)?;
        match &self.backing {
            Backing::Script(script) => {
                hotplug::run_block(script, &self.device, "add")?;
                hotplug::wait_connected(store, &self.device, time)
            }
            Backing::Block { .. } => {
                let end = Instant::now() + time;
                let opened = presence.wait(end, |presence| {
                    presence.has_opened(&self.device)
                        || !matches!(backend::state(store, &self.device), Ok(XenbusState::InitWait))
                });
                match backend::state(store, &self.device)? {
                    XenbusState::Closing | XenbusState::Closed => {
                        bail!("{}", backend::refusal(store, &self.device)?)
                    }
                    _ if opened => Ok(()),
                    _ => bail!("{}: the kernel did not open it in {} s", self.device, time.as_secs()),
                }
            }
            Backing::Process | Backing::Elsewhere => Ok(()),
        }
    }
}

fn format_name(format: DiskFormat) -> &'static str {
    match format {
        DiskFormat::Raw => "raw",
        DiskFormat::Qcow => "qcow",
        DiskFormat::Qcow2 => "qcow2",
        DiskFormat::Vhd => "vhd",
        DiskFormat::Qed => "qed",
    }
}

fn open_target(disk: &Disk, target: &str) -> Result<Backing> {
    let data = fs::metadata(target).with_context(|| format!("cannot open {target}"))?;
    let is_block = data.file_type().is_block_device();
    if !is_block && !data.is_file() {
        bail!("{target} is neither a block device nor a file");
    }
    let by_process = disk.format != DiskFormat::Raw || disk.backend_type == Some(BackendType::Qdisk);
    if by_process {
        return Ok(Backing::Process);
    }
    if disk.backend_type == Some(BackendType::Standalone) {
        bail!("backendtype=standalone is for virtio disks, which are not built; leave it out");
    }
    if is_block {
        let device = data.rdev();
        let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
        return Ok(Backing::Block {
            major,
            minor,
            path: target.to_owned(),
            node: None,
            _held: None,
        });
    }
    attach_loop(disk, target)
}

fn attach_loop(disk: &Disk, target: &str) -> Result<Backing> {
    let Ok(control) = LoopControl::open() else {
        // Without loop devices a process serves the file.
        if disk.backend_type == Some(BackendType::Phy) {
            bail!(
                "{target} is a file, and there are no loop devices; try: modprobe loop, or leave backendtype=phy out"
            );
        }
        return Ok(Backing::Process);
    };
    let options = LoopOptions {
        read_only: !disk.writable,
        auto_clear: true,
        direct_io: false,
    };
    let (held, path) = control.attach(Path::new(target), options).context("no loop device")?;
    let device = held
        .metadata()
        .with_context(|| format!("cannot examine {}", path.display()))?
        .rdev();
    let path = path.display().to_string();
    Ok(Backing::Block {
        major: nix::sys::stat::major(device),
        minor: nix::sys::stat::minor(device),
        node: Some(path.clone()),
        path,
        _held: Some(held),
    })
}

/// Refuses a disk that another domain has, where one of them writes: two writers destroy a file system.
fn check_sharing(store: &mut impl Store, disk: &Disk, target: &str) -> Result<()> {
    let identity = |path: &str| {
        let data = fs::metadata(path).ok()?;
        Some(if data.file_type().is_block_device() {
            (u64::MAX, data.rdev())
        } else {
            (data.dev(), data.ino())
        })
    };
    let Some(wanted) = identity(target) else { return Ok(()) };
    for class in [Class::Vbd, Class::Qdisk] {
        let root = format!("/local/domain/0/backend/{}", class.backend_name());
        for domain in store.directory_or_empty(&root)? {
            for devid in store.directory_or_empty(&format!("{root}/{domain}"))? {
                let path = format!("{root}/{domain}/{devid}");
                let Some(params) = store.read_optional(&format!("{path}/params"))? else {
                    continue;
                };
                if identity(&params) != Some(wanted) {
                    continue;
                }
                let writes = store
                    .read_optional(&format!("{path}/mode"))?
                    .is_none_or(|mode| mode.starts_with('w'));
                let online = store.read_optional(&format!("{path}/online"))?.as_deref() == Some("1");
                if online && (writes || disk.writable) {
                    bail!("{target} is in use by domain {domain}, and one of the two writes; give both access r");
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announces_what_libxl_announces() {
        let disk: Disk = "phy:/dev/ram0,xvda,w".parse().expect("a disk");
        let backing = Backing::Block {
            major: 1,
            minor: 0,
            path: "/dev/ram0".into(),
            node: None,
            _held: None,
        };
        let device = Device {
            class: Class::Vbd,
            domid: 1,
            devid: 51_712,
            backend_domid: 0,
        };
        let nodes = PreparedDisk { device, backing, disk }.nodes();
        let backend = "/local/domain/0/backend/vbd/1/51712";
        for (name, value) in [
            ("frontend", "/local/domain/1/device/vbd/51712"),
            ("params", "/dev/ram0"),
            ("frontend-id", "1"),
            ("online", "1"),
            ("removable", "0"),
            ("bootable", "1"),
            ("state", "1"),
            ("dev", "xvda"),
            ("type", "phy"),
            ("mode", "w"),
            ("device-type", "disk"),
            ("discard-enable", "1"),
            ("specification", "xen"),
            ("physical-device", "1:0"),
            ("hotplug-status", "connected"),
        ] {
            assert_eq!(nodes.value(&format!("{backend}/{name}")), Some(value), "{name}");
        }
        let frontend = "/local/domain/1/device/vbd/51712";
        for (name, value) in [
            ("backend", backend),
            ("backend-id", "0"),
            ("state", "1"),
            ("virtual-device", "51712"),
        ] {
            assert_eq!(nodes.value(&format!("{frontend}/{name}")), Some(value), "{name}");
        }
    }
}
