//! Why a device cannot be used.

use core::fmt;

/// Why a network device cannot be taken up or connected. Trouble with frames is no error: it is counted.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The store, or a node in it.
    Store(pv_xenbus::Error),
    /// The machine refused pages, grants or ports.
    Hal(pv_hal::Error),
    /// The peer asks for or offers something that the protocol does not allow: what it was.
    Peer(&'static str),
    /// The device was not connected, or was closed while this waited.
    Down,
    /// A frame that is empty or larger than the peer takes.
    BadLength,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Hal(error) => error.fmt(f),
            Self::Peer(what) => f.write_str(what),
            Self::BadLength => f.write_str("a frame of a length that the peer does not take"),
            Self::Down => f.write_str("the network device is not connected"),
        }
    }
}

impl core::error::Error for Error {}

impl From<pv_xenbus::Error> for Error {
    fn from(error: pv_xenbus::Error) -> Self {
        Self::Store(error)
    }
}

impl From<pv_hal::Error> for Error {
    fn from(error: pv_hal::Error) -> Self {
        Self::Hal(error)
    }
}
