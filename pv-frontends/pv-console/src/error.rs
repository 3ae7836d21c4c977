//! Why a console cannot be used.

use core::fmt;

/// Why a console failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Error {
    /// This domain has no console.
    Absent,
    /// The other end has written indexes that make no sense. Its own ring is of no use until it writes better ones.
    Broken(pv_ring::Broken),
    /// The machine refused the page or the port.
    Hal(pv_hal::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("this domain has no console"),
            Self::Broken(error) => error.fmt(f),
            Self::Hal(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Error {}

impl From<pv_ring::Broken> for Error {
    fn from(error: pv_ring::Broken) -> Self {
        Self::Broken(error)
    }
}

impl From<pv_hal::Error> for Error {
    fn from(error: pv_hal::Error) -> Self {
        Self::Hal(error)
    }
}
