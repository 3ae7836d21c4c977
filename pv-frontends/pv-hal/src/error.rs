//! Why the machine refused something.
use core::fmt;

/// Why a call of [`Hal`](crate::Hal) failed. What the hypervisor says by a number, a driver needs by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Error {
    /// No memory left in this domain.
    NoMemory,
    /// No entry left in this domain's grant table, or no room to map a grant.
    NoGrants,
    /// No port left.
    NoPorts,
    /// The other domain does not exist (any more).
    NoDomain,
    /// The grant is not one that the other domain has given, or not for this use.
    BadGrant,
    /// The port does not exist, or is not meant for this domain.
    BadPort,
    /// A piece reaches over the end of a page, or a list is empty or too long.
    BadRange,
    /// The hypervisor does not permit it.
    Denied,
    /// Anything else: the status or negative errno that the hypervisor gave.
    Other(i64),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Error::NoMemory => "out of memory",
            Error::NoGrants => "out of grants",
            Error::NoPorts => "out of event channels",
            Error::NoDomain => "no such domain",
            Error::BadGrant => "bad grant",
            Error::BadPort => "bad event channel",
            Error::BadRange => "bad range",
            Error::Denied => "not permitted",
            Error::Other(number) => return write!(f, "hypervisor error {number}"),
        })
    }
}

impl core::error::Error for Error {}
