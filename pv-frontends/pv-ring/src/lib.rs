//! Xen's shared rings (`public/io/ring.h`), front and back, against a peer that may write anything into them.
//!
//! A ring is one or more shared pages: four indexes that run freely, and a power of two of slots. The frontend puts
//! requests into slots, the backend answers into the same slots. [`Front`] and [`Back`] hold the two ends' private
//! indexes; what the peer may write is read once and compared with those, and a slot is copied out whole before
//! anybody looks at it. A peer whose index makes no sense gives [`Broken`], at once and for good: there is no request
//! or response to be had from such a ring, and no loop to be caught in.
//!
//! [`bytes`] holds the simpler rings of bytes that consoles and xenstore have.
//!
//! # Notifications
//!
//! Each end says by an index when it wants an event ([`Front::arm`], [`Back::arm`]), and publishing says whether the
//! other end wants one. The order that loses no event is: take what is there; `arm`; when that says that there is more,
//! begin again; else wait.
//!
//! # Example
//!
//! ```
//! use pv_hal::{Access, Hal, SharedPages, fake::Machine};
//! use pv_ring::{Back, Front};
//!
//! let machine = Machine::new();
//! let (front_domain, back_domain) = (machine.add_domain(1), machine.add_domain(2));
//! let shared = SharedPages::new(&front_domain, back_domain.id(), 1, Access::ReadWrite)?;
//! let mapping = back_domain.map(front_domain.id(), shared.grants(), Access::ReadWrite)?;
//!
//! // Requests are 12 bytes here, responses 8: any plain type of the crate `zerocopy` would do.
//! let mut front: Front<_, [u8; 12], [u8; 8]> = Front::new(shared);
//! let mut back: Back<_, [u8; 12], [u8; 8]> = Back::new(mapping);
//!
//! front.push(&[7; 12]).expect("an empty ring has room");
//! assert!(front.publish(), "the backend sleeps and wants an event");
//!
//! assert_eq!(back.pop()?, Some([7; 12]));
//! assert_eq!(back.pop()?, None);
//! back.push(&[9; 8]);
//! assert!(back.publish());
//!
//! assert_eq!(front.pop()?, Some([9; 8]));
//! assert!(!front.arm()?, "nothing more, and the next response comes with an event");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]

mod back;
pub mod bytes;
mod front;
mod layout;

pub use back::Back;
pub use front::{Front, Full};
pub use layout::{Broken, slot_count};

/// What a slot can hold: a plain value without padding, of which every bit pattern is valid.
pub trait Slot: zerocopy::FromBytes + zerocopy::IntoBytes + zerocopy::Immutable + Clone {}

impl<T: zerocopy::FromBytes + zerocopy::IntoBytes + zerocopy::Immutable + Clone> Slot for T {}
