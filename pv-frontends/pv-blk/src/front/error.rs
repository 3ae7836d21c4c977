//! Why a request was not made, or came to nothing.

use core::fmt;

use pv_ring::Broken;

use super::Buffer;
use crate::negotiation::BadNode;

/// A rule of the protocol that the backend has broken. Its device is of no use any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// An index of the ring makes no sense.
    Ring(Broken),
    /// It answered a request that nobody has made, or answered one twice.
    UnknownRequest(u64),
    /// It answered a request as if it had been another operation.
    WrongOperation(u8),
    /// It has answered, and still has pages mapped that it was to let go of.
    PagesHeld,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring(broken) => broken.fmt(f),
            Self::UnknownRequest(id) => write!(f, "an answer to request {id:#x}, which was not made"),
            Self::WrongOperation(code) => write!(f, "an answer with operation {code}, which was not asked for"),
            Self::PagesHeld => f.write_str("an answer to a request whose pages are still mapped"),
        }
    }
}

/// Why a request failed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The machine refused what the request needs.
    Machine(pv_hal::Error),
    /// Every ring is full: poll for completions, and try again.
    Full,
    /// Longer than one request can carry, or than its buffer; or of no sector at all.
    BadLength,
    /// Beyond the disk's end.
    OutOfRange,
    /// Not a multiple of the disk's sector size.
    Misaligned,
    /// The disk cannot be written.
    ReadOnly,
    /// The disk does not know the operation.
    Unsupported,
    /// The backend could not do it.
    Failed,
    /// There is no backend now.
    Disconnected,
    /// The backend has broken the protocol.
    Broken(Fault),
    /// No answer within the time that was set.
    TimedOut,
    /// The backend publishes something that cannot be used.
    Node(BadNode),
    /// The store failed.
    Store(pv_xenbus::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Machine(error) => return error.fmt(f),
            Self::Full => "the rings are full",
            Self::BadLength => "the request has a length that is not possible",
            Self::OutOfRange => "beyond the disk's end",
            Self::Misaligned => "not a multiple of the sector size",
            Self::ReadOnly => "the disk is read only",
            Self::Unsupported => "the disk does not know the operation",
            Self::Failed => "the disk reports an error",
            Self::Disconnected => "the disk is not connected",
            Self::Broken(fault) => return write!(f, "the backend breaks the protocol: {fault}"),
            Self::TimedOut => "the backend does not answer",
            Self::Node(node) => return write!(f, "the backend's {node}"),
            Self::Store(error) => return error.fmt(f),
        })
    }
}

impl core::error::Error for Error {}

impl From<pv_hal::Error> for Error {
    fn from(error: pv_hal::Error) -> Self {
        Self::Machine(error)
    }
}

impl From<pv_xenbus::Error> for Error {
    fn from(error: pv_xenbus::Error) -> Self {
        Self::Store(error)
    }
}

impl From<BadNode> for Error {
    fn from(node: BadNode) -> Self {
        Self::Node(node)
    }
}

impl embedded_io::Error for Error {
    fn kind(&self) -> embedded_io::ErrorKind {
        use embedded_io::ErrorKind;
        match self {
            Self::Machine(pv_hal::Error::NoMemory) => ErrorKind::OutOfMemory,
            Self::BadLength | Self::OutOfRange | Self::Misaligned => ErrorKind::InvalidInput,
            Self::ReadOnly => ErrorKind::PermissionDenied,
            Self::Unsupported => ErrorKind::Unsupported,
            Self::Disconnected => ErrorKind::NotConnected,
            Self::Broken(_) | Self::Node(_) => ErrorKind::InvalidData,
            Self::TimedOut => ErrorKind::TimedOut,
            _ => ErrorKind::Other,
        }
    }
}

/// A request that was not made, with its buffer.
pub struct Refused<H: pv_hal::Hal> {
    /// Why.
    pub error: Error,
    /// What was to be moved.
    pub buffer: Option<Buffer<H>>,
}

impl<H: pv_hal::Hal> fmt::Debug for Refused<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused")
            .field("error", &self.error)
            .field("buffer", &self.buffer)
            .finish()
    }
}

impl<H: pv_hal::Hal> fmt::Display for Refused<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<H: pv_hal::Hal> core::error::Error for Refused<H> {}

impl<H: pv_hal::Hal> From<Refused<H>> for Error {
    fn from(refused: Refused<H>) -> Self {
        refused.error
    }
}
