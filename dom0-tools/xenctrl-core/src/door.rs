//! The way to the hypervisor, which differs between Dom0's Linux and a kernel of our own.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::error::Error;
use core::fmt;

use xen_abi::Errno;
use zerocopy::{FromBytes, IntoBytes};

use crate::{DomId, Mapped, Resource};

/// Bytes of a [`Block`].
pub enum Bytes<'a> {
    /// The hypervisor only reads them.
    In(&'a [u8]),
    /// It fills them; where it does not, they come back as zeros.
    Out(&'a mut [u8]),
    /// Both.
    InOut(&'a mut [u8]),
}

impl Bytes<'_> {
    /// The bytes as they are.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::In(bytes) => bytes,
            Self::Out(bytes) | Self::InOut(bytes) => bytes,
        }
    }
}

/// A piece of memory that a hypercall reads, writes or both, with the places in it that name other pieces.
pub struct Block<'a> {
    /// Its bytes.
    pub bytes: Bytes<'a>,
    /// Offsets of 8 bytes each that hold the address of another piece during the call, and come back as they were.
    pub handles: Vec<(usize, Block<'a>)>,
}

impl<'a> Block<'a> {
    /// Memory that the hypervisor only reads.
    pub fn input(bytes: &'a [u8]) -> Self {
        Self::new(Bytes::In(bytes))
    }

    /// Memory that the hypervisor fills; where it does not, it comes back as zeros.
    pub fn output(bytes: &'a mut [u8]) -> Self {
        Self::new(Bytes::Out(bytes))
    }

    /// Memory that goes both ways.
    pub fn both(bytes: &'a mut [u8]) -> Self {
        Self::new(Bytes::InOut(bytes))
    }

    /// A structure that goes both ways.
    pub fn structure<T: IntoBytes + FromBytes>(value: &'a mut T) -> Self {
        Self::both(value.as_mut_bytes())
    }

    fn new(bytes: Bytes<'a>) -> Self {
        Self {
            bytes,
            handles: Vec::new(),
        }
    }

    /// Puts the address of `block` into the 8 bytes at `offset`, for the call; they come back as they were.
    pub fn handle(mut self, offset: usize, block: Block<'a>) -> Self {
        self.handles.push((offset, block));
        self
    }

    /// Bytes that it and all below it take in a buffer where each begins at a multiple of 16.
    pub fn room(&self) -> usize {
        let below: usize = self.handles.iter().map(|(_, block)| block.room()).sum();
        self.bytes.as_slice().len().next_multiple_of(16) + below
    }
}

/// One argument of a hypercall.
pub enum Arg<'a> {
    /// A number.
    Word(u64),
    /// The address of memory.
    Memory(Block<'a>),
}

impl Arg<'_> {
    /// As [`Block::room`].
    pub fn room(&self) -> usize {
        match self {
            Self::Word(_) => 0,
            Self::Memory(block) => block.room(),
        }
    }
}

/// Why something failed at the door or behind it.
#[derive(Debug)]
pub struct Failure {
    /// The hypervisor's error number.
    pub errno: Option<Errno>,
    /// Words of the door's own.
    pub cause: Option<Box<dyn Error + Send + Sync>>,
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self {
            errno: Some(errno),
            cause: None,
        }
    }
}

impl Failure {
    /// The error of the operation that was tried.
    pub fn named(self, action: &'static str, domid: Option<DomId>) -> crate::Error {
        match (self.errno, self.cause) {
            (errno, Some(cause)) => crate::Error::because(action, domid, errno, cause),
            (errno, None) => crate::Error::new(action, domid, errno.unwrap_or(Errno::EINVAL)),
        }
    }
}

/// The way to the hypervisor. Whatever is one has all the operations of [`Domains`](crate::Domains),
/// [`Memory`](crate::Memory) and [`Machine`](crate::Machine).
pub trait Door: fmt::Debug {
    /// Pages of a domain, mapped here.
    type Mapping: Mapped;

    /// Makes hypercall number `op` and returns what it answers, if not negative. Fewer than five arguments leave the
    /// others 0.
    ///
    /// # Errors
    /// The hypervisor's error number, or why it was not reached.
    fn call(&self, op: u64, args: &mut [Arg<'_>]) -> Result<i64, Failure>;

    /// Maps frames of a domain (machine frames, for a PV guest), in the order given.
    ///
    /// # Errors
    /// The hypervisor's, of the first frame that it refused; nothing stays mapped.
    fn map_frames(&self, domid: DomId, mfns: &[u64], writable: bool) -> Result<Self::Mapping, Failure>;

    /// Maps frames of a resource of a domain, to read and write.
    ///
    /// # Errors
    /// The hypervisor's.
    fn map_resource_frames(
        &self,
        domid: DomId,
        what: Resource,
        index: u32,
        count: usize,
    ) -> Result<Self::Mapping, Failure>;
}
