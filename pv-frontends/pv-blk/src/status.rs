//! How a request ended, as a response says it.

use core::fmt;

use xen_abi::{BLKIF_RSP_EOPNOTSUPP, BLKIF_RSP_ERROR, BLKIF_RSP_OKAY};

/// `BLKIF_RSP_*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Done.
    Okay,
    /// Failed.
    Error,
    /// Not an operation of this disk.
    Unsupported,
}

impl Status {
    /// As a response holds it.
    pub fn code(self) -> i16 {
        match self {
            Self::Okay => BLKIF_RSP_OKAY,
            Self::Error => BLKIF_RSP_ERROR,
            Self::Unsupported => BLKIF_RSP_EOPNOTSUPP,
        }
    }

    /// From a response; a code that the header does not know is an error.
    pub fn from_code(code: i16) -> Self {
        match code {
            BLKIF_RSP_OKAY => Self::Okay,
            BLKIF_RSP_EOPNOTSUPP => Self::Unsupported,
            _ => Self::Error,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Okay => "done",
            Self::Error => "failed",
            Self::Unsupported => "not supported",
        })
    }
}
