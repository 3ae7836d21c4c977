//! What stands behind a backend.

use crate::negotiation::Discard;

/// What a disk is and can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// Size in sectors of 512 bytes.
    pub sectors: u64,
    /// Bytes that transfers must be multiples of: a power of two from 512 to 4096.
    pub sector_size: u32,
    /// Bytes that transfers should be multiples of.
    pub physical_sector_size: u32,
    /// It cannot be written.
    pub read_only: bool,
    /// It keeps writes in a cache that can be flushed.
    pub flush: bool,
    /// It can give up sectors.
    pub discard: Option<Discard>,
}

/// What a disk is asked to do. Whoever asks has checked that the sectors are on the disk, that their number is that of
/// the buffer's bytes, and that nothing is asked that the [`Geometry`] excludes.
#[derive(Debug)]
pub enum Work<B> {
    /// Fill the buffer from the disk.
    Read {
        /// First sector.
        sector: u64,
        /// Where to, as long as what is read.
        buffer: B,
    },
    /// Write the buffer to the disk.
    Write {
        /// First sector.
        sector: u64,
        /// Where from, as long as what is written.
        buffer: B,
    },
    /// Put on stable storage every write that is complete.
    Flush,
    /// Give up sectors.
    Discard {
        /// First sector.
        sector: u64,
        /// Number of sectors.
        sectors: u64,
        /// No copy may be left.
        secure: bool,
    },
}

/// Something for a disk to do.
#[derive(Debug)]
pub struct Job<B> {
    /// The asker's name for it.
    pub id: u64,
    /// What it is.
    pub work: Work<B>,
}

/// Why a disk did not do what it was asked to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskError {
    /// It failed.
    Failed,
    /// It does not know how.
    Unsupported,
}

/// A job that has ended, and how.
pub type Ended<B> = (Job<B>, Result<(), DiskError>);

/// A disk that does several things at a time and tells of their ends, in any order. Nothing here waits.
///
/// A disk that can only do one thing at a time keeps finished jobs in a list, as [`MemoryDisk`](super::MemoryDisk) does.
pub trait Disk {
    /// Memory that the disk can reach: for a device, memory fit for its DMA.
    type Buffer: AsRef<[u8]> + AsMut<[u8]>;

    /// What the disk is.
    fn geometry(&self) -> Geometry;

    /// Memory of exactly `bytes`, a megabyte at most; none while there is none left. It is asked for again at the next
    /// [`Backend::poll`](super::Backend::poll), so whoever has several backends at one device polls all of them when one
    /// of its jobs has ended.
    fn allocate(&mut self, bytes: usize) -> Option<Self::Buffer>;

    /// Begins a job; it comes back where the disk has no room for it, and is begun again as memory is asked for again.
    ///
    /// # Errors
    /// The job, because there is no room now.
    fn start(&mut self, job: Job<Self::Buffer>) -> Result<(), Job<Self::Buffer>>;

    /// The next job that has ended; none if there is none now.
    fn poll(&mut self) -> Option<Ended<Self::Buffer>>;
}
