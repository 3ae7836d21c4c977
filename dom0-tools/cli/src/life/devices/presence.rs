//! Whether Linux's backends still hold a device: sysfs says so, uevents say when it changes.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket};

use super::Device;

/// The kernel's list of backends.
const BACKENDS: &str = "/sys/bus/xen-backend/devices";
/// Pause between two looks where uevents cannot be had.
const PAUSE: Duration = Duration::from_millis(5);

/// A subscription to the kernel's uevents; made before the first look, so that nothing is missed.
pub struct Presence {
    root: PathBuf,
    events: Option<OwnedFd>,
}

impl Presence {
    /// Subscribes.
    pub fn new() -> Self {
        Self {
            root: BACKENDS.into(),
            events: subscribe().ok(),
        }
    }

    /// Whether the kernel holds `device`.
    pub fn holds(&self, device: &Device) -> bool {
        self.root.join(device.sysfs_name()).exists()
    }

    /// Whether the kernel has opened the block device behind `device`: it then shows the device's number.
    pub fn has_opened(&self, device: &Device) -> bool {
        self.root.join(device.sysfs_name()).join("physical_device").exists()
    }

    /// Waits until `done`, looking again at each uevent, at most until `end`.
    pub fn wait(&self, end: Instant, mut done: impl FnMut(&Self) -> bool) -> bool {
        loop {
            if done(self) {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.next_event(left);
        }
    }

    fn next_event(&self, left: Duration) {
        let Some(events) = &self.events else {
            std::thread::sleep(left.min(PAUSE));
            return;
        };
        // Attributes appear without a uevent of their own, hence the bound.
        let bound = left.min(Duration::from_millis(20));
        let timeout = PollTimeout::try_from(bound).unwrap_or(PollTimeout::ZERO);
        let mut fds = [PollFd::new(events.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, timeout).is_ok_and(|ready| ready > 0) {
            let mut buffer = [0; 4096];
            while recv(events.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT).is_ok() {}
        }
    }
}

fn subscribe() -> nix::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let events = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        flags,
        SockProtocol::NetlinkKObjectUEvent,
    )?;
    bind(events.as_raw_fd(), &NetlinkAddr::new(0, 1))?;
    Ok(events)
}

/// Whether a driver of that name waits for backends' devices; true where the kernel does not say.
pub fn has_driver(name: &str) -> bool {
    let drivers = Path::new("/sys/bus/xen-backend/drivers");
    fs::metadata(drivers).is_err() || drivers.join(name).exists()
}
