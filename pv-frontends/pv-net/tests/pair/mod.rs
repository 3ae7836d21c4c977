//! A guest and its driver domain with one network device between them, on the fake machine.
#![allow(dead_code, unreachable_pub)]

use pv_hal::fake::{Domain, Machine};
use pv_net::back::{self, Back};
use pv_net::front::{self, Front};
use pv_net::{Interface, MAX_FRAME, Meta, Status};
use pv_xenbus::fake::{LocalClient, LocalStore};

pub const MAC: [u8; 6] = [0, 0x16, 0x3e, 0, 0, 1];
pub const FRONT: &str = "/local/domain/1/device/vif/0";
pub const BACK: &str = "/local/domain/2/backend/vif/1/0";

pub type TheFront = Front<Domain, LocalClient>;
pub type TheBack = Back<Domain, LocalClient>;

pub struct Pair {
    pub machine: Machine,
    pub guest: Domain,
    pub driver: Domain,
    pub store: LocalStore,
}

impl Pair {
    pub fn new() -> Self {
        let machine = Machine::new();
        let (guest, driver) = (machine.add_domain(1), machine.add_domain(2));
        let store = LocalStore::new();
        store.add_device("vif", 0, &guest, &driver, &[("mac", "00:16:3e:00:00:01")]);
        Self {
            machine,
            guest,
            driver,
            store,
        }
    }

    pub fn front(&self, config: front::Config) -> TheFront {
        Front::new(&self.guest, self.store.client(&self.guest), "device/vif/0", config).expect("a device")
    }

    pub fn back(&self, config: back::Config) -> TheBack {
        Back::new(&self.driver, self.store.client(&self.driver), "backend/vif/1/0", config).expect("a device")
    }

    /// Nothing is left of a connection: no page, grant, mapping or port.
    pub fn assert_clean(&self) {
        let (guest, driver) = (self.guest.id(), self.driver.id());
        let machine = &self.machine;
        assert_eq!(machine.grants_in_use(guest), 0, "grants");
        assert_eq!(machine.grants_mapped(driver), 0, "mapped grants");
        assert_eq!(
            (machine.ports_in_use(guest), machine.ports_in_use(driver)),
            (0, 0),
            "ports"
        );
    }
}

/// Both ends of a connected device.
pub fn connected(front: front::Config, back: back::Config) -> (Pair, TheFront, TheBack) {
    let pair = Pair::new();
    let (mut back, mut front) = (pair.back(back), pair.front(front));
    connect(&mut front, &mut back);
    (pair, front, back)
}

pub fn connect(front: &mut TheFront, back: &mut TheBack) {
    for _ in 0..10 {
        let states = (front.poll().expect("front"), back.poll().expect("back"));
        if states == (Status::Up, Status::Up) {
            return;
        }
    }
    panic!("the device does not come up");
}

/// Polls both ends until each has come to rest.
pub fn settle(front: &mut TheFront, back: &mut TheBack) -> (Status, Status) {
    for _ in 0..10 {
        front.poll().expect("front");
        back.poll().expect("back");
    }
    (front.poll().expect("front"), back.poll().expect("back"))
}

/// All frames that wait at an end.
pub fn drain(end: &mut impl Interface) -> Vec<(Vec<u8>, Meta)> {
    let mut buffer = vec![0; MAX_FRAME];
    let mut frames = Vec::new();
    while let Some(received) = end.try_receive(&mut buffer) {
        frames.push((buffer[..received.len].to_vec(), received.meta));
    }
    end.flush();
    frames
}

/// A frame of `len` bytes that differs from others by `seed`.
pub fn frame(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}
