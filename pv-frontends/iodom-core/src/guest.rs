//! One guest that runs, and its devices.
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use pv_blk::back::{Backend, Condition, Disk, Options};
use pv_hal::{Hal, Port};
use pv_net::back::{Back, Config};
use pv_xenbus::Store;

use crate::build::{NewDomain, usual_mac};
use crate::config::{DiskConfig, GuestConfig, NetConfig, device_number};
use crate::console::Console;
use crate::nodes::Device;
use crate::restart::Life;

/// Something about a device that did not work; the text says what.
pub type Trouble = String;

/// The driver domain's disks.
pub trait Disks {
    /// A disk as one guest sees it.
    type Disk: Disk;
    /// Opens a disk by its number, for one guest; none where there is no such disk.
    fn open(&mut self, number: usize, read_only: bool) -> Option<Self::Disk>;
}

/// A guest's disk.
pub struct GuestDisk<H: Hal, S: Store, D: Disk> {
    /// What it is in the store.
    pub device: Device,
    /// Its configuration, to make it again.
    pub config: DiskConfig,
    /// Who serves it; none while it is detached.
    pub backend: Option<Backend<H, S, D>>,
}

/// A guest that runs.
pub struct Guest<H: Hal, S: Store, D: Disk> {
    /// As it was configured.
    pub config: GuestConfig<'static>,
    /// Its domain.
    pub domain: NewDomain,
    /// Since when it runs.
    pub life: Life,
    /// Its console.
    pub console: Console<H>,
    /// Its disks.
    pub disks: Vec<GuestDisk<H, S, D>>,
}

impl<H: Hal, S: Store, D: Disk> Guest<H, S, D> {
    /// Serves its disks; true if there is more to do at once.
    pub fn serve_disks(&mut self) -> bool {
        let mut is_busy = false;
        for disk in &mut self.disks {
            let Some(backend) = &mut disk.backend else { continue };
            match backend.poll() {
                Ok(Condition::Idle) => {}
                Ok(Condition::Busy) => is_busy = true,
                Ok(Condition::Closed) => disk.backend = None,
                Err(error) => {
                    log::warn!("{} of {}: {error}", disk.config.device, self.config.name);
                    disk.backend = None;
                }
            }
        }
        is_busy
    }

    /// The ports of its console and disks.
    pub fn ports(&self) -> impl Iterator<Item = Port> + '_ {
        let disks = self.disks.iter().filter_map(|disk| disk.backend.as_ref());
        disks.flat_map(|backend| backend.ports()).chain([self.console.port()])
    }
}

/// Announces a disk and takes its back end up.
///
/// # Errors
/// There is no such disk or device name; the store's.
pub fn attach_disk<H: Hal, S: Store, D: Disks>(
    hal: &H,
    store: &S,
    disks: &mut D,
    domid: u16,
    config: &DiskConfig,
) -> Result<GuestDisk<H, S, D::Disk>, Trouble> {
    let number = device_number(&config.device).ok_or_else(|| format!("{} is no disk's name", config.device))?;
    let device = Device {
        kind: "vbd",
        domid,
        number,
    };
    let mode = if config.read_only { "r" } else { "w" };
    let own = [
        ("dev", config.device.clone()),
        ("params", format!("virtio:{}", config.backing)),
        ("mode", mode.into()),
        ("device-type", "disk".into()),
    ];
    let guest = [
        ("virtual-device", number.to_string()),
        ("device-type", "disk".into()),
        ("protocol", "x86_64-abi".into()),
    ];
    device
        .announce(store, &own, &guest)
        .map_err(|error| error.to_string())?;
    Ok(GuestDisk {
        device,
        config: config.clone(),
        backend: Some(serve_disk(hal, store, disks, device, config)?),
    })
}

/// Takes the back end of an announced disk up.
///
/// # Errors
/// There is no such disk; the store's.
pub fn serve_disk<H: Hal, S: Store, D: Disks>(
    hal: &H,
    store: &S,
    disks: &mut D,
    device: Device,
    config: &DiskConfig,
) -> Result<Backend<H, S, D::Disk>, Trouble> {
    let disk = disks
        .open(config.backing, config.read_only)
        .ok_or_else(|| format!("there is no disk number {}", config.backing))?;
    Backend::new(hal, store.clone(), &device.own_path(), disk, Options::default()).map_err(|error| error.to_string())
}

/// Announces a network interface and takes its back end up.
///
/// # Errors
/// The store's.
pub fn attach_net<H: Hal, S: Store>(
    hal: &H,
    store: &S,
    domid: u16,
    index: usize,
    config: &NetConfig,
) -> Result<(Device, Back<H, S>), Trouble> {
    let device = Device {
        kind: "vif",
        domid,
        number: index as u32,
    };
    let mac = match config.mac {
        Some([a, b, c, d, e, f]) => format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"),
        None => usual_mac(domid, index),
    };
    let own = [("mac", mac.clone()), ("handle", index.to_string())];
    let guest = [("mac", mac), ("handle", index.to_string()), ("mtu", "1500".into())];
    device
        .announce(store, &own, &guest)
        .map_err(|error| error.to_string())?;
    Ok((device, serve_net(hal, store, device)?))
}

/// Takes the back end of an announced interface up.
///
/// # Errors
/// The store's.
pub fn serve_net<H: Hal, S: Store>(hal: &H, store: &S, device: Device) -> Result<Back<H, S>, Trouble> {
    Back::new(hal, store.clone(), &device.own_path(), Config::default()).map_err(|error| error.to_string())
}
