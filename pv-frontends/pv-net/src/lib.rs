//! Xen's paravirtual network devices (`public/io/netif.h`), both ends, against peers that may write anything.
//!
//! - [`front::Front`] is the guest's end, [`back::Back`] the driver domain's. Both are an [`Interface`]: frames go in
//!   and out as bytes, each with a [`Meta`] that says what is known of its checksum and whether it is a large segment.
//! - With the feature `smoltcp`, [`phy::Phy`] makes any [`Interface`] the device of that TCP stack, with checksums and
//!   segmentation left to whoever can do them.
//! - [`checksum`] and [`segment`] do in software what a device does not.
//!
//! What both ends agree on: several queues, two event channels a queue, packets of several pages (scatter-gather),
//! checksums left blank over IPv4 and IPv6, large TCP segments over both. What the other end does not take is done in
//! software before a frame is handed to it, so users need not ask.
//!
//! # How frames travel
//!
//! The frontend keeps pages that are granted for as long as the device is connected, and copies frames into and out of
//! them: the peer never sees other memory, and no grant changes on the way of a packet. The backend has the hypervisor
//! copy ([`Hal::copy`](pv_hal::Hal::copy)), many packets at a time, and maps nothing but the rings.
//!
//! # Blocking and polling
//!
//! `poll`, `try_send`, `try_receive` and `flush` return at once; `send`, `receive` and `wait` sleep until something
//! happens or a deadline passes. [`Interface::ports`] names what a larger loop waits for.
//!
//! # Example
//!
//! A frame from a guest to its driver domain, on the fake machine:
//!
//! ```
//! use pv_hal::fake::Machine;
//! use pv_net::{Interface, Meta, Status, back::{self, Back}, front::{self, Front}};
//! use pv_xenbus::fake::LocalStore;
//!
//! let machine = Machine::new();
//! let (guest, driver) = (machine.add_domain(1), machine.add_domain(2));
//! let store = LocalStore::new();
//! store.add_device("vif", 0, &guest, &driver, &[("mac", "00:16:3e:00:00:01")]);
//!
//! let mut back = Back::new(&driver, store.client(&driver), "backend/vif/1/0", back::Config::default())?;
//! let mut front = Front::new(&guest, store.client(&guest), "device/vif/0", front::Config::default())?;
//! while (front.poll()?, back.poll()?) != (Status::Up, Status::Up) {}
//!
//! let frame = [0xee; 60];
//! front.try_send(&frame, Meta::default()).expect("there is room");
//! front.flush();
//!
//! let mut buffer = [0; pv_net::MAX_FRAME];
//! let received = back.try_receive(&mut buffer).expect("it is there");
//! assert_eq!(&buffer[..received.len], &frame);
//! # Ok::<(), pv_net::Error>(())
//! ```
#![no_std]

extern crate alloc;

pub mod back;
mod channels;
pub mod checksum;
mod error;
mod extra;
mod features;
mod flow;
pub mod front;
mod interface;
mod meta;
mod outgoing;
#[cfg(feature = "smoltcp")]
pub mod phy;
mod queues;
pub mod rx_chain;
pub mod segment;
pub mod tx_chain;

pub use error::Error;
pub use extra::{BadExtra, Extras, Multicast};
pub use features::Features;
pub use interface::{Interface, Received, SendError, Statistics, Status};
pub use meta::{Checksum, Gso, GsoKind, Meta};

use pv_hal::PAGE_SIZE;

/// Most bytes of a frame, Ethernet header included (`XEN_NETIF_MAX_TX_SIZE`). A buffer of this size takes any frame.
pub const MAX_FRAME: usize = xen_abi::XEN_NETIF_MAX_TX_SIZE;

/// A hardware address.
pub type Mac = [u8; 6];

/// Reads a hardware address as xenstore has it: six bytes in hexadecimal, with colons.
pub fn parse_mac(text: &str) -> Option<Mac> {
    let mut mac = Mac::default();
    let mut parts = text.trim().split(':');
    for byte in &mut mac {
        let part = parts.next().filter(|part| (1..=2).contains(&part.len()))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}
