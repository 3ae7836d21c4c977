//! What a paravirtual Xen driver needs of the machine under it, as one trait: [`Hal`].
//!
//! A driver for a Xen device, front or back, consists of the same few things: pages that another domain may reach
//! ([`Memory`], [`Hal::grant`], [`Hal::map`], [`Hal::copy`]), event channels ([`Hal::notify`], [`Hal::wait`]), and time.
//! A guest runtime implements the trait once over its hypercalls; driver crates are generic over it, contain no
//! `unsafe`, and run unchanged on a machine that is only memory (`fake`, with the feature of that name).
//!
//! # The peer is hostile
//!
//! Whatever another domain can write, it may write at any time and to any value. So shared memory is never a `&[u8]` or
//! a `&T`: it is words of [`AtomicU32`](core::sync::atomic::AtomicU32), and copies in and out of them. A driver copies
//! what it wants to look at *once*, checks the copy and uses the copy.
//!
//! A granted page belongs to the peer, too, until the peer has let go of it, which nobody can force. Hence
//! [`Hal::end_access`] cannot fail: the implementation keeps a page from being used for anything else for as long as a
//! grant on it is in use, no matter what the driver drops.
//!
//! # Blocking and polling
//!
//! Every method but [`Hal::wait`] returns at once. A driver offers `poll_…` functions that look at rings and at
//! [`Hal::take_event`], and blocking ones that call those between waits. The rule against lost wakeups is:
//! *take the event, then look at the ring*; and wait only after a look that found nothing.
//!
//! # Example
//!
//! Two domains of the fake machine share a page and an event channel:
//!
//! ```
//! use core::sync::atomic::Ordering;
//! use pv_hal::{Access, Hal, Memory, fake::Machine};
//!
//! let machine = Machine::new();
//! let (front, back) = (machine.add_domain(1), machine.add_domain(2));
//!
//! // Domain 1 offers a page and a port to domain 2 …
//! let page = front.allocate(1)?;
//! let grant = front.grant(&page, 0, back.id(), Access::ReadWrite)?;
//! let port = front.allocate_unbound(back.id())?;
//!
//! // … which takes both up, writes and sends an event.
//! let mapping = back.map(front.id(), &[grant], Access::ReadWrite)?;
//! let back_port = back.bind_interdomain(front.id(), port)?;
//! mapping.store_u32(8, 42, Ordering::Release);
//! back.notify(back_port);
//!
//! assert!(front.wait(&[port], None));
//! assert!(front.take_event(port));
//! assert_eq!(page.load_u32(8, Ordering::Acquire), 42);
//!
//! // The page stays out of other use until domain 2 has let go of it, too.
//! assert!(!front.end_access(grant));
//! drop(page);
//! assert_eq!(machine.pages_in_use(front.id()), 1);
//! drop(mapping);
//! assert_eq!(machine.pages_in_use(front.id()), 0);
//! # Ok::<(), pv_hal::Error>(())
//! ```
#![no_std]

extern crate alloc;

mod channel;
mod error;
#[cfg(feature = "fake")]
pub mod fake;
mod hal;
mod ids;
mod memory;
mod shared;

pub use channel::Channel;
pub use error::Error;
pub use hal::{Access, CopyPiece, Direction, Hal};
pub use ids::{DomId, GrantRef, Port};
pub use memory::{Memory, PAGE_SIZE, PAGE_WORDS};
pub use shared::SharedPages;
