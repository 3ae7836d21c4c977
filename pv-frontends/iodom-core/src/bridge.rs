//! The bridge between the guests' interfaces and the wire: it learns which address lies behind which of them.
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use pv_hal::Hal;
use pv_net::back::Back;
use pv_net::{Checksum, Interface, MAX_FRAME, Mac, Meta, checksum, segment};
use pv_xenbus::Store;

use crate::nodes::Device;

/// Frames that one look takes from one interface, so that none keeps the others waiting.
const BUDGET: usize = 64;
/// Addresses that are remembered behind the wire, and behind one guest's interface: one that sends from ever new ones
/// takes no other's place.
const KNOWN_OUTSIDE: usize = 1024;
const KNOWN_OF_GUEST: usize = 64;
/// Bytes of an Ethernet header.
const HEADER: usize = 14;

/// A network device that leads out of the machine. Frames go without offloads.
pub trait Uplink {
    /// The next frame, copied to the beginning of `into`: its length.
    fn receive(&mut self, into: &mut [u8]) -> Option<usize>;
    /// Sends a frame; false where there is no room, and it is lost.
    fn send(&mut self, frame: &[u8]) -> bool;
}

/// Where a frame comes from or goes to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Place {
    Wire,
    Guest(Device),
}

/// What the bridge has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Frames passed on.
    pub forwarded: u64,
    /// Frames that found no room.
    pub lost: u64,
}

/// The bridge: the wire, if there is one, and all guests' interfaces.
pub struct Bridge<H: Hal, S: Store, U: Uplink> {
    wire: Option<U>,
    guests: BTreeMap<Device, Back<H, S>>,
    /// Addresses that were seen.
    known: BTreeMap<Mac, Place>,
    /// The interfaces' own addresses, which nobody else can take.
    own: BTreeMap<Mac, Device>,
    buffer: Vec<u8>,
    scratch: Vec<u8>,
    counts: Counts,
}

impl<H: Hal, S: Store, U: Uplink> Bridge<H, S, U> {
    /// A bridge without guests.
    pub fn new(wire: Option<U>) -> Self {
        Self {
            wire,
            guests: BTreeMap::new(),
            known: BTreeMap::new(),
            own: BTreeMap::new(),
            buffer: alloc::vec![0; MAX_FRAME],
            scratch: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Adds a guest's interface.
    pub fn add(&mut self, device: Device, end: Back<H, S>) {
        self.known.remove(&end.mac());
        self.own.insert(end.mac(), device);
        self.guests.insert(device, end);
    }

    /// Takes one out, and forgets what was behind it.
    pub fn remove(&mut self, device: Device) -> Option<Back<H, S>> {
        self.known.retain(|_, place| *place != Place::Guest(device));
        self.own.retain(|_, owner| *owner != device);
        self.guests.remove(&device)
    }

    /// The interfaces.
    pub fn ends(&mut self) -> impl Iterator<Item = (Device, &mut Back<H, S>)> {
        self.guests.iter_mut().map(|(device, end)| (*device, end))
    }

    /// What it has done.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Passes frames on; true if there may be more at once.
    pub fn forward(&mut self) -> bool {
        let mut buffer = core::mem::take(&mut self.buffer);
        let mut is_busy = false;
        let sources: Vec<Place> = self.guests.keys().map(|device| Place::Guest(*device)).collect();
        for from in sources.into_iter().chain([Place::Wire]) {
            let mut taken = 0;
            while taken < BUDGET {
                let Some((length, meta)) = self.take(from, &mut buffer) else {
                    break;
                };
                self.pass_on(from, &mut buffer[..length], meta);
                taken += 1;
            }
            is_busy |= taken == BUDGET;
        }
        self.guests.values_mut().for_each(Interface::flush);
        self.buffer = buffer;
        is_busy
    }

    fn take(&mut self, from: Place, into: &mut [u8]) -> Option<(usize, Meta)> {
        match from {
            Place::Wire => {
                let length = self.wire.as_mut()?.receive(into)?;
                Some((length, Meta::default()))
            }
            Place::Guest(device) => {
                let received = self.guests.get_mut(&device)?.try_receive(into)?;
                Some((received.len, received.meta))
            }
        }
    }

    fn pass_on(&mut self, from: Place, frame: &mut [u8], meta: Meta) {
        let Some((to, sender)) = addresses(frame) else { return };
        self.learn(sender, from);
        let own = self.own.get(&to).map(|device| Place::Guest(*device));
        match own.or_else(|| self.known.get(&to).copied()).filter(|_| !is_group(&to)) {
            Some(place) if place == from => {}
            Some(place) => self.put(place, frame, meta),
            None => {
                let all: Vec<Place> = self.guests.keys().map(|device| Place::Guest(*device)).collect();
                for place in all.into_iter().chain([Place::Wire]).filter(|place| *place != from) {
                    self.put(place, frame, meta);
                }
            }
        }
    }

    /// Remembers where an address was seen.
    fn learn(&mut self, sender: Mac, from: Place) {
        if is_group(&sender) || self.own.contains_key(&sender) || self.known.get(&sender) == Some(&from) {
            return;
        }
        let most = match from {
            Place::Wire => KNOWN_OUTSIDE,
            Place::Guest(_) => KNOWN_OF_GUEST,
        };
        if self.known.values().filter(|place| **place == from).count() < most {
            self.known.insert(sender, from);
        }
    }

    fn put(&mut self, place: Place, frame: &mut [u8], meta: Meta) {
        let is_sent = match place {
            Place::Guest(device) => {
                let end = self.guests.get_mut(&device);
                end.is_some_and(|end| end.try_send(frame, meta).is_ok())
            }
            Place::Wire => self.put_on_wire(frame, meta),
        };
        self.counts.forwarded += u64::from(is_sent);
        self.counts.lost += u64::from(!is_sent);
    }

    /// A wire has frames of ordinary size with all their sums.
    fn put_on_wire(&mut self, frame: &mut [u8], meta: Meta) -> bool {
        let Some(wire) = &mut self.wire else { return true };
        if let Some(gso) = meta.gso {
            let mut all = true;
            let cut = segment::cut(frame, gso, &mut self.scratch, |piece| {
                all = wire.send(piece);
                all
            });
            return cut.is_ok() && all;
        }
        if meta.checksum == Checksum::Blank {
            checksum::complete(frame);
        }
        wire.send(frame)
    }
}

/// Receiver and sender of a frame; none of one that is too short.
fn addresses(frame: &[u8]) -> Option<(Mac, Mac)> {
    let header = frame.get(..HEADER)?;
    Some((header[..6].try_into().ok()?, header[6..12].try_into().ok()?))
}

fn is_group(mac: &Mac) -> bool {
    mac[0] & 1 != 0
}
