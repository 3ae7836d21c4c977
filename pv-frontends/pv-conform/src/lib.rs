//! Conformance cases for Xen's paravirtual protocols: each is an expected behaviour, by name, from the public header that
//! it cites. A suite is a list of [`Case`]s over a [`Bench`], which is the machine, the store and somebody beside the
//! guest who does what only a toolstack can (plug, unplug, kill a backend).
//!
//! ```
//! use pv_conform::{Bench, Case, Stop, run};
//! use pv_hal::fake::{Domain, Machine};
//! use pv_xenbus::{Nodes, fake::{LocalClient, LocalStore}};
//!
//! let machine = Machine::new();
//! let domain = machine.add_domain(1);
//! let store = LocalStore::new().client(&domain);
//! let cases = [Case {
//!     name: "xenbus/write-read",
//!     header: "io/xs_wire.h",
//!     expects: "what was written is read",
//!     run: |bench: &Bench<Domain, LocalClient>| {
//!         bench.store.write("data/a", 1)?;
//!         bench.expect(bench.store.read("data/a")? == "1", "another value")
//!     },
//! }];
//! let mut lines = Vec::new();
//! let tally = run(&cases, &mut Bench::new(domain, store), "", None, &mut |line| lines.push(line.to_string()));
//! assert_eq!(tally.failed, 0);
//! assert_eq!(lines, ["cases 1", "case xenbus/write-read pass"]);
//! ```
#![no_std]

extern crate alloc;

mod bench;
pub mod block;
mod case;
pub mod console;
pub mod net;
pub mod xenbus;

pub use bench::Bench;
pub use case::{Case, Outcome, Stop, Tally, run};
