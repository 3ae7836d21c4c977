//! What can go wrong with the store.
use core::fmt;

/// Why something about xenstore or a device failed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The store refused a request.
    Store(xenstore_proto::Error),
    /// The store did not answer in time.
    TimedOut,
    /// The store's ring or what came over it makes no sense; [`Store::reconnect`](crate::Store::reconnect) may
    /// help.
    Disconnected,
    /// This domain has no store.
    Absent,
    /// A node is missing, or has no value that means something: its name.
    BadNode(alloc::string::String),
    /// The machine refused something.
    Hal(pv_hal::Error),
}

impl Error {
    /// Whether the store says that there is no such node.
    pub fn is_missing(&self) -> bool {
        *self == Error::Store(xenstore_proto::Error::ENOENT)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Store(error) => write!(f, "xenstore: {error}"),
            Error::TimedOut => f.write_str("xenstore does not answer"),
            Error::Disconnected => f.write_str("xenstore's ring is broken"),
            Error::Absent => f.write_str("this domain has no xenstore"),
            Error::BadNode(name) => write!(f, "node {name} is missing or makes no sense"),
            Error::Hal(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Error {}

impl From<xenstore_proto::Error> for Error {
    fn from(error: xenstore_proto::Error) -> Error {
        Error::Store(error)
    }
}

impl From<pv_hal::Error> for Error {
    fn from(error: pv_hal::Error) -> Error {
        Error::Hal(error)
    }
}
