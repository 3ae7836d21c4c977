//! What can go wrong with a request.

use std::io;
use std::path::PathBuf;

use xenstore_proto::{Error as StoreError, Kind};

/// Why a request failed.
#[derive(Debug)]
pub enum Error {
    /// The daemon refused it.
    Refused {
        /// What was asked.
        kind: Kind,
        /// The first thing the request named, mostly a path.
        subject: String,
        /// The daemon's reason.
        error: StoreError,
    },
    /// The connection was lost inside a transaction, which is gone with it.
    TransactionLost,
    /// There is no daemon at the socket, even after waiting.
    Unreachable {
        /// The socket or device.
        path: PathBuf,
        /// The last attempt's error.
        source: io::Error,
    },
    /// The connection failed in another way.
    Connection(io::Error),
    /// The daemon sent something that is not an answer.
    Malformed(String),
}

impl Error {
    /// The daemon's reason, if it was the daemon that refused.
    pub fn refusal(&self) -> Option<StoreError> {
        match self {
            Error::Refused { error, .. } => Some(*error),
            _ => None,
        }
    }

    /// Whether the node does not exist.
    pub fn is_missing(&self) -> bool {
        self.refusal() == Some(StoreError::ENOENT)
    }

    /// Whether a transaction must be run again from its beginning.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Error::TransactionLost) || self.refusal() == Some(StoreError::EAGAIN)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Refused { kind, subject, error } => write!(f, "xenstore: {kind:?} {subject}: {error}"),
            Error::TransactionLost => write!(f, "xenstore: the connection was lost inside a transaction"),
            Error::Unreachable { path, source } => {
                write!(f, "xenstore: {}: {source}: is xenstored running?", path.display())
            }
            Error::Connection(source) => write!(f, "xenstore: connection failed: {source}"),
            Error::Malformed(what) => write!(f, "xenstore: malformed answer: {what}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Unreachable { source, .. } | Error::Connection(source) => Some(source),
            _ => None,
        }
    }
}
