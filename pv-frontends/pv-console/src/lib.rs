//! Xen's paravirtual console (`public/io/console.h`), both ends, and a `log` sink over it.
//!
//! A console is one page with two byte rings: one of 2048 bytes for what the guest prints, one of 1024 for what is typed
//! to it, and an event channel. [`Front`] is the guest's end, [`Back`] the daemon's or driver domain's. Either end may
//! write anything into the page at any time: indexes that make no sense are an error, and lead nowhere else.
//!
//! # Blocking and polling
//!
//! `try_…` functions return at once; `write`, `read` and `wait` sleep until the other end has done something. [`Front`]
//! and [`Back`] implement `embedded-io`'s traits, which block.
//!
//! # Example
//!
//! A guest greets and reads its answer, on the fake machine:
//!
//! ```
//! use pv_console::{Back, Front};
//! use pv_hal::fake::Machine;
//!
//! let machine = Machine::new();
//! let (daemon, guest) = (machine.add_domain(0), machine.add_domain(1));
//! let mut front = Front::new(&guest).expect("a console");
//! let (ring, port) = machine.console_backend(guest.id());
//! let mut back = Back::new(&daemon, guest.id(), ring, port)?;
//!
//! front.write(b"hello\n")?;
//! let mut buffer = [0; 100];
//! let count = back.try_read(&mut buffer)?;
//! assert_eq!(&buffer[..count], b"hello\n");
//!
//! back.try_write(b"welcome\n")?;
//! let count = front.read(&mut buffer, None)?;
//! assert_eq!(&buffer[..count], b"welcome\n");
//! # Ok::<(), pv_console::Error>(())
//! ```
#![no_std]

extern crate alloc;

mod back;
mod error;
mod front;
mod io;
mod logger;

pub use back::Back;
pub use error::Error;
pub use front::Front;
pub use logger::Logger;

/// Bytes that the guest may print before the other end must read.
pub const OUTPUT_SIZE: usize = 2048;

/// Bytes that may be typed before the guest must read.
pub const INPUT_SIZE: usize = 1024;
