//! Xenstore from within a domain, and xenbus: how the two ends of a paravirtual device find each other.
//!
//! - [`Store`] and [`Nodes`] are what drivers ask of a store. [`RingStore`] is the usual one: a client of the store
//!   daemon over the shared ring, with watches, transactions, blocking and polling use, and reconnection. A domain that
//!   serves the store itself implements [`Store`] without any ring.
//! - [`frontend::Frontend`] and [`backend::Backend`] follow the states that both ends announce. Their rules are pure
//!   functions ([`frontend::decide`], [`backend::decide`]): connection in every order, a backend that is restarted, a
//!   frontend that begins anew, hot unplug, resumption elsewhere. A driver calls `poll`, does what the
//!   [step](frontend::Step) says, and calls back.
//! - With the feature `fake`, [`fake::LocalStore`] is a store that the domains of `pv-hal`'s fake machine share.
//!
//! Strings of the store are written by other domains, which may write anything at any time. A driver reads a value
//! once, by [`Nodes::read_parsed`] and its like, and uses what it got.
//!
//! # Example
//!
//! Both ends of a device, in one thread on the fake machine:
//!
//! ```
//! use pv_hal::fake::Machine;
//! use pv_xenbus::fake::LocalStore;
//! use pv_xenbus::{Nodes, State, backend, frontend};
//!
//! let machine = Machine::new();
//! let (front_domain, back_domain) = (machine.add_domain(1), machine.add_domain(2));
//! let store = LocalStore::new();
//! store.add_device("vbd", 51712, &front_domain, &back_domain, &[("mode", "r")]);
//!
//! let mut front = frontend::Frontend::new(store.client(&front_domain), "device/vbd/51712")?;
//! let mut back = backend::Backend::new(store.client(&back_domain), "backend/vbd/1/51712")?;
//! assert_eq!(front.backend_domain(), back_domain.id());
//!
//! assert_eq!(front.poll()?, frontend::Step::Wait);
//! assert_eq!(back.poll()?, backend::Step::Offer);
//! back.offer(&[("feature-barrier", "1".into())])?;
//!
//! assert_eq!(front.poll()?, frontend::Step::Publish);
//! assert!(front.has_feature("feature-barrier")?);
//! front.publish(&[("ring-ref", "8".into())], State::Initialised)?;
//!
//! assert_eq!(back.poll()?, backend::Step::Connect);
//! assert_eq!(back.frontend_value("ring-ref")?, Some(8));
//! back.connect(&[("sectors", "2048".into())])?;
//!
//! assert_eq!(front.poll()?, frontend::Step::Start);
//! assert_eq!(front.backend_value("sectors")?, Some(2048));
//! front.start()?;
//!
//! // The toolstack takes the device away.
//! store.unplug(back.path(), &back_domain);
//! assert_eq!(back.poll()?, backend::Step::Wait);
//! assert_eq!(front.poll()?, frontend::Step::Release);
//! front.release();
//! assert_eq!(front.poll()?, frontend::Step::Wait);
//! assert_eq!(back.poll()?, backend::Step::Release);
//! back.release();
//! assert_eq!(back.poll()?, backend::Step::Closed);
//! assert_eq!(front.poll()?, frontend::Step::Closed);
//! # Ok::<(), pv_xenbus::Error>(())
//! ```
#![no_std]

extern crate alloc;

pub mod backend;
mod error;
#[cfg(feature = "fake")]
pub mod fake;
pub mod frontend;
mod ring_store;
mod store;

pub use error::Error;
pub use ring_store::{RingStore, Ticket};
pub use store::{Nodes, Store, Transaction, WatchId};
pub use xen_abi::XenbusState as State;
pub use xenstore_proto::{Access, Error as StoreError, Kind, Permission};
