//! Attacks on backends: rings that are none, indices and requests that make no sense, in every order. A backend may give
//! the device up, but must take it up again when the guest begins anew.
use crate::store::{CLOSED, CLOSING, CONNECTED, Device, INIT_WAIT, INITIALISED};
use core::sync::atomic::Ordering;
use core::time::Duration;
use guest_rt::machine::Pages;
use guest_rt::{Machine, check};
use pv_hal::{Access, Channel, DomId, Hal, Memory, SharedPages};
use pv_xenbus::RingStore;

/// A number that is no grant and no port of this guest.
const NOTHING: u32 = 0xffff_fff0;
/// Rounds of scribbling.
const ROUNDS: u32 = 64;
/// The shared indices of a ring (`io/ring.h`): both producers and both event thresholds.
const INDICES: [usize; 4] = [0, 4, 8, 12];

/// What is told to a backend about one kind of device.
struct Kind {
    name: &'static str,
    /// Nodes that name ring pages.
    rings: &'static [&'static str],
    /// The state in which this end waits for the other.
    ready: u32,
    /// Further nodes.
    words: &'static [(&'static str, &'static str)],
}

const KINDS: [Kind; 2] = [
    Kind {
        name: "vbd",
        rings: &["ring-ref"],
        ready: INITIALISED,
        words: &[("protocol", "x86_64-abi")],
    },
    Kind {
        name: "vif",
        rings: &["tx-ring-ref", "rx-ring-ref"],
        ready: CONNECTED,
        words: &[
            ("request-rx-copy", "1"),
            ("feature-sg", "1"),
            ("feature-rx-notify", "1"),
        ],
    },
];

/// What an attacker has: a device, rings, a port.
struct Attack<'a> {
    device: &'a Device<'a>,
    kind: &'a Kind,
}

impl Attack<'_> {
    fn peer(&self) -> DomId {
        DomId(self.device.peer)
    }

    /// Tells the other end grants and a port.
    fn announce(&self, grants: &[u32], port: u32) {
        for (node, grant) in self.kind.rings.iter().zip(grants) {
            self.device.set(node, grant);
        }
        self.device.set("event-channel", port);
        for (node, value) in self.kind.words {
            self.device.set(node, value);
        }
        self.device.set("state", self.kind.ready);
    }

    /// Rings and a port of which some make no sense. Whatever the other end makes of them (Linux's netback calls itself
    /// connected), it must be there for the next attempt.
    fn refuse(&self, what: &str, grants: &[u32], port: u32) {
        self.announce(grants, port);
        self.device.wait_peer(&[CONNECTED, CLOSING, CLOSED]);
        self.recover(what);
    }

    fn recover(&self, what: &str) {
        let again = self.device.begin_anew();
        check!(
            format_args!("rings/{}/{what}/again", self.kind.name),
            again,
            "the backend is in state {}",
            self.device.peer_state()
        );
    }

    /// A ring that works, filled by `spoil`, with a bell after each round.
    fn spoil(&self, what: &str, spoil: impl Fn(&SharedPages<Machine>, u32)) {
        let pages = SharedPages::new(&Machine, self.peer(), self.kind.rings.len(), Access::ReadWrite);
        let (Ok(rings), Ok(channel)) = (pages, Channel::offer(&Machine, self.peer())) else {
            return check!("rings/memory", false, "no pages or no port");
        };
        for page in 0..self.kind.rings.len() {
            // Of an empty ring both thresholds are 1.
            rings.store_u32(page * 4096 + 4, 1, Ordering::Relaxed);
            rings.store_u32(page * 4096 + 12, 1, Ordering::Release);
        }
        let grants: alloc::vec::Vec<u32> = rings.grants().iter().map(|grant| grant.0).collect();
        self.announce(&grants, channel.port().0);
        let connected = self.device.wait_peer(&[CONNECTED]);
        check!(
            format_args!("rings/{}/{what}/connected", self.kind.name),
            connected,
            "the backend is in state {}",
            self.device.peer_state()
        );
        for round in 0..ROUNDS {
            spoil(&rings, round);
            channel.notify();
            Machine.wait(&[], Some(Machine.now() + Duration::from_millis(2)));
        }
        self.recover(what);
    }
}

/// Numbers without sense, the same on every run.
fn noise(seed: u32) -> u32 {
    let mixed = (seed ^ 0x9e37_79b9).wrapping_mul(0x85eb_ca6b);
    (mixed ^ mixed >> 13).wrapping_mul(0xc2b2_ae35)
}

fn attack(device: &Device<'_>, kind: &Kind) {
    let attack = Attack { device, kind };
    let found = device.wait_peer(&[INIT_WAIT, CLOSED]) && (device.peer_state() == INIT_WAIT || device.begin_anew());
    check!(format_args!("rings/{}/offered", kind.name), found, "no backend");
    if !found {
        return;
    }
    let port = Machine.allocate_unbound(attack.peer()).map_or(NOTHING, |port| port.0);
    attack.refuse("no-such-grant", &[NOTHING; 2], port);
    let page: Option<Pages> = Machine.allocate(1).ok();
    let own = page.and_then(|page| Machine.grant(&page, 0, attack.peer(), Access::ReadOnly).ok());
    if let Some(grant) = own {
        attack.refuse("read-only-ring", &[grant.0; 2], port);
        Machine.end_access(grant);
    }
    attack.refuse("no-such-port", &[NOTHING; 2], NOTHING);
    attack.spoil("requests-from-nowhere", |rings, round| {
        rings.store_u32(0, noise(round), Ordering::Release);
    });
    attack.spoil("all-indices", |rings, round| {
        for index in INDICES {
            rings.store_u32(index, noise(round * 4 + index as u32), Ordering::Release);
        }
    });
    attack.spoil("whole-pages", |rings, round| {
        let bytes = rings.page_count() * 4096;
        // A few requests at a time that are within the ring, of garbage.
        for word in (64..bytes).step_by(4) {
            rings.store_u32(word, noise(round.wrapping_mul(4099) + word as u32), Ordering::Relaxed);
        }
        for page in 0..rings.page_count() {
            rings.store_u32(page * 4096, round % 32 + 1, Ordering::Release);
        }
    });
}

/// Attacks every kind of device that this guest has.
pub fn run(store: &RingStore<Machine>) {
    for kind in &KINDS {
        match Device::find(store, kind.name) {
            Some(device) => attack(&device, kind),
            None => check!(format_args!("rings/{}", kind.name), false, "no such device"),
        }
    }
}
