//! The frontend: a disk that another domain serves.

mod buffer;
mod device;
mod error;
mod frontend;
mod queue;
mod sectors;
mod stream;

use core::fmt;

use pv_hal::Hal;

pub use buffer::Buffer;
pub use device::Device;
pub use error::{Error, Fault, Refused};
pub use frontend::{Condition, Frontend, Options};
pub use stream::Stream;

/// What a request does. Sectors have 512 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// From the disk into the request's buffer.
    Read {
        /// First sector.
        sector: u64,
        /// Number of sectors.
        sectors: u32,
    },
    /// From the request's buffer to the disk.
    Write {
        /// First sector.
        sector: u64,
        /// Number of sectors.
        sectors: u32,
    },
    /// What was written goes to stable storage.
    Flush,
    /// Sectors are given up.
    Discard {
        /// First sector.
        sector: u64,
        /// Number of sectors.
        sectors: u64,
        /// No copy of them may be left.
        secure: bool,
    },
}

/// Names a request of one device; later ones are greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token(u64);

/// A request that has come to its end.
pub struct Completion<H: Hal> {
    /// Which one.
    pub token: Token,
    /// What it did.
    pub operation: Operation,
    /// Whether it did it.
    pub result: Result<(), Error>,
    /// Its buffer, for another request.
    pub buffer: Option<Buffer<H>>,
}

impl<H: Hal> fmt::Debug for Completion<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completion")
            .field("token", &self.token)
            .field("operation", &self.operation)
            .field("result", &self.result)
            .field("buffer", &self.buffer)
            .finish()
    }
}
