//! Xen's paravirtual block protocol (`public/io/blkif.h`), both ends, without an operating system.
//!
//! - [`front`] is a disk that another domain serves: persistent grants, indirect requests, rings of several pages,
//!   several queues, flush, discard. It works against Linux's blkback, against QEMU-like backends in a process, and
//!   against [`back`]. [`front::Device`] never waits: make requests, publish them, poll for completions.
//!   [`front::Frontend`] finds and follows the backend through xenstore and has blocking calls, too; [`front::Stream`]
//!   is a disk as bytes by the traits of `embedded-io`.
//! - [`back`] serves a disk to a frontend, Linux's blkfront or this one. The disk is anything that implements
//!   [`back::Disk`]; [`back::MemoryDisk`] is one.
//! - [`negotiation`] is what both tell each other before, as plain values.
//!
//! The machine below is [`pv_hal::Hal`], the store [`pv_xenbus::Store`]; there is no `unsafe` here. Sectors have 512
//! bytes in every count, whatever the disk's own sectors are, as the protocol has it in practice.
//!
//! # The other end is hostile
//!
//! It shares memory, and may write anything there, and into xenstore, at any time. Every request and response is copied
//! out of the ring once and checked as a copy; so are lists of segments. A backend that answers what nobody asked, or
//! holds on to pages, is left ([`front::Fault`]): requests end with an error, the device closes, and the caller may
//! connect it again. A frontend that breaks its ring is closed; bad requests are answered with errors, and nobody else
//! waits for it. Pages that the other end still has mapped are not used for anything else.
//!
//! # Requests and connections
//!
//! A backend may go and come back: its domain is restarted, this one is moved to another machine. Requests without an
//! answer are made again at the next backend; they end with [`front::Error::Disconnected`] only where the disk is closed
//! or unplugged. A write may so be carried out twice, which a disk does not mind.
//!
//! # Example
//!
//! Two domains of the fake machine, one with a disk in memory, the other using it. In a guest the `Hal` and the store
//! come from its runtime, and nothing else changes.
//!
//! ```
//! use pv_blk::back::{Backend, Condition, MemoryDisk};
//! use pv_blk::front::{Frontend, Stream};
//! use pv_hal::{Memory, fake::Machine};
//! use pv_xenbus::fake::LocalStore;
//! use embedded_io::{Read, Seek, SeekFrom, Write};
//!
//! let machine = Machine::new();
//! let (guest, driver) = (machine.add_domain(1), machine.add_domain(2));
//! let store = LocalStore::new();
//! store.add_device("vbd", 51712, &guest, &driver, &[("mode", "w")]);
//!
//! // The driver domain serves a megabyte of memory: poll whenever a ring, the store or the disk has an event.
//! let disk = MemoryDisk::new(vec![0; 1 << 20]);
//! let mut backend = Backend::new(&driver, store.client(&driver), "backend/vbd/1/51712", disk, Default::default())?;
//! driver.spawn(move || while backend.poll() == Ok(Condition::Busy) {});
//!
//! // The guest connects, and waits for what it asks for …
//! let mut disk = Frontend::new(&guest, store.client(&guest), "device/vbd/51712", Default::default())?;
//! assert_eq!(disk.connect(None)?.sectors, 2048);
//! disk.write_sectors(10, &[7; 1024])?;
//! disk.flush()?;
//!
//! // … or makes requests and polls: the buffer is filled in place, and comes back with the completion.
//! let buffer = disk.device().buffer(8)?;
//! let token = disk.device().read(8, 8, buffer)?;
//! disk.device().publish();
//! let completion = disk.wait(None)?.expect("a request is in flight");
//! assert_eq!((completion.token, completion.result), (token, Ok(())));
//! let mut bytes = [0; 4096];
//! completion.buffer.expect("reads have one").read(0, &mut bytes);
//! assert_eq!(bytes[1023..1026], [0, 7, 7]);
//!
//! // … or takes the disk for bytes.
//! let mut stream = Stream::new(&mut disk);
//! stream.seek(SeekFrom::Start(5119))?;
//! stream.write_all(b"hello")?;
//! stream.seek(SeekFrom::Current(-5))?;
//! let mut word = [0; 5];
//! stream.read_exact(&mut word)?;
//! assert_eq!(&word, b"hello");
//!
//! disk.close(None)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod back;
pub mod front;
pub mod negotiation;
mod pending;
mod status;

pub use status::Status;

/// Bytes of a sector, in requests and in every count of sectors.
pub const SECTOR_SIZE: usize = 512;
/// Sectors of a page.
pub const SECTORS_PER_PAGE: usize = pv_hal::PAGE_SIZE / SECTOR_SIZE;
