//! The store, where there is one, as an attacker uses it: nodes by name, and the states of devices' other ends.
use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;
use guest_rt::{Machine, check};
use pv_hal::Hal;
use pv_xenbus::{Nodes, RingStore};

/// States of xenbus (`io/xenbus.h`).
pub const INITIALISING: u32 = 1;
pub const INIT_WAIT: u32 = 2;
pub const INITIALISED: u32 = 3;
pub const CONNECTED: u32 = 4;
pub const CLOSING: u32 = 5;
pub const CLOSED: u32 = 6;

const PATIENCE: Duration = Duration::from_secs(20);
const NAP: Duration = Duration::from_millis(20);

/// This guest's end of a device.
pub struct Device<'a> {
    store: &'a RingStore<Machine>,
    path: String,
    backend: String,
    /// The domain of the other end.
    pub peer: u16,
}

impl<'a> Device<'a> {
    /// The first device of a kind.
    pub fn find(store: &'a RingStore<Machine>, kind: &str) -> Option<Device<'a>> {
        let folder = format!("device/{kind}");
        let number = store.directory(&folder).ok()?.into_iter().min()?;
        let path = format!("{folder}/{number}");
        Some(Device {
            backend: store.read(&format!("{path}/backend")).ok()?,
            peer: store.read_parsed(&format!("{path}/backend-id")).ok()??,
            store,
            path,
        })
    }

    /// Writes a node of this end.
    pub fn set(&self, key: &str, value: impl ToString) {
        let written = self.store.write(&format!("{}/{key}", self.path), value.to_string());
        if let Err(error) = written {
            check!("rings/store", false, "{key}: {error}");
        }
    }

    /// The other end's state; 0 for none.
    pub fn peer_state(&self) -> u32 {
        let state = self.store.read_parsed(&format!("{}/state", self.backend));
        state.ok().flatten().unwrap_or(0)
    }

    /// Waits until the other end is in one of these states.
    pub fn wait_peer(&self, states: &[u32]) -> bool {
        let end = Machine.now() + PATIENCE;
        while !states.contains(&self.peer_state()) {
            if Machine.now() > end {
                return false;
            }
            Machine.wait(&[], Some(Machine.now() + NAP));
        }
        true
    }

    /// Lets the device go and begins anew; whether the other end follows.
    pub fn begin_anew(&self) -> bool {
        for (own, peer) in [
            (CLOSING, [CLOSING, CLOSED]),
            (CLOSED, [CLOSED, INIT_WAIT]),
            (INITIALISING, [INIT_WAIT; 2]),
        ] {
            self.set("state", own);
            if !self.wait_peer(&peer) {
                return false;
            }
        }
        true
    }
}
