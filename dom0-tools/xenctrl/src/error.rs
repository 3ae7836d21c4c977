//! Errors of control operations: what was tried, on which domain, and the hypervisor's number.

use std::fmt;
use std::io;

use privcmd::DomId;
use xen_abi::Errno;

/// Result of a control operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A control operation that the hypervisor refused.
#[derive(Debug)]
pub struct Error {
    /// What was tried, in the infinitive: "create a domain".
    pub action: &'static str,
    /// The domain it was tried on.
    pub domid: Option<DomId>,
    /// Why not.
    pub source: io::Error,
}

impl Error {
    /// An error of the operation `action`.
    pub fn new(action: &'static str, domid: Option<DomId>, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        Self { action, domid, source }
    }

    /// The hypervisor's error number, where it comes from there.
    pub fn errno(&self) -> Option<Errno> {
        let number = self.source.raw_os_error()?;
        u16::try_from(number).ok().map(Errno)
    }

    /// The domain does not exist.
    pub fn is_no_domain(&self) -> bool {
        self.errno() == Some(Errno::ESRCH)
    }

    fn advice(&self) -> Option<&'static str> {
        match self.errno()? {
            Errno::ESRCH => Some("there is no such domain"),
            Errno::EACCES => Some("the hypervisor's control interface is not that of Xen 4.17"),
            Errno::EPERM => Some("only Dom0 may do this"),
            Errno::ENOMEM => Some("the machine has too little free memory"),
            Errno::ENOSYS | Errno::EOPNOTSUPP => Some("the hypervisor does not have this operation"),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.action)?;
        if let Some(domid) = self.domid {
            write!(f, " (domain {domid})")?;
        }
        match (self.advice(), self.errno()) {
            (Some(advice), Some(errno)) => write!(f, ": {advice} ({})", errno.name()),
            _ => write!(f, ": {}", self.source),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::new(error.source.kind(), error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_operation_the_domain_and_the_reason() {
        let error = Error::new("pause", Some(7), io::Error::from_raw_os_error(3));
        assert_eq!(
            error.to_string(),
            "cannot pause (domain 7): there is no such domain (ESRCH)"
        );
        assert!(error.is_no_domain());
    }
}
