//! What is wrong with a stream, and where.

use std::{fmt, io};

/// Result of reading or writing a stream.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a stream could not be read or written.
#[derive(Debug)]
pub enum Error {
    /// It broke off: this byte was to be read and is not there.
    Ended(u64),
    /// What is behind it failed.
    Io(io::Error),
    /// It is not what it should be.
    Malformed {
        /// The byte of the stream behind which it is wrong.
        at: u64,
        /// In words.
        what: String,
    },
}

impl Error {
    /// A stream that is wrong at byte `at`.
    pub fn malformed(at: u64, what: impl Into<String>) -> Self {
        Self::Malformed { at, what: what.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(at) => write!(f, "the stream ends at byte {at}, before its end"),
            Self::Io(error) => error.fmt(f),
            Self::Malformed { at, what } => write!(f, "at byte {at} of the stream: {what}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
