//! Errors of control operations: what was tried, on which domain, and the hypervisor's number.

use alloc::boxed::Box;
use core::error::Error as Cause;
use core::fmt;

use xen_abi::Errno;

use crate::DomId;

/// Result of a control operation.
pub type Result<T> = core::result::Result<T, Error>;

/// A control operation that the hypervisor refused, or that did not reach it.
#[derive(Debug)]
pub struct Error {
    /// What was tried, in the infinitive: "create a domain".
    pub action: &'static str,
    /// The domain it was tried on.
    pub domid: Option<DomId>,
    errno: Option<Errno>,
    cause: Option<Box<dyn Cause + Send + Sync>>,
}

impl Error {
    /// The hypervisor refused the operation `action` with an error number.
    pub fn new(action: &'static str, domid: Option<DomId>, errno: Errno) -> Self {
        Self {
            action,
            domid,
            errno: Some(errno),
            cause: None,
        }
    }

    /// The operation `action` failed for a reason with words of its own, and perhaps with an error number.
    pub fn because(
        action: &'static str,
        domid: Option<DomId>,
        errno: Option<Errno>,
        cause: impl Into<Box<dyn Cause + Send + Sync>>,
    ) -> Self {
        Self {
            action,
            domid,
            errno,
            cause: Some(cause.into()),
        }
    }

    /// The hypervisor's error number, where it comes from there.
    pub fn errno(&self) -> Option<Errno> {
        self.errno
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
        match (self.advice(), self.errno, &self.cause) {
            (Some(advice), Some(errno), _) => write!(f, ": {advice} ({})", errno.name()),
            (_, _, Some(cause)) => write!(f, ": {cause}"),
            (_, Some(errno), None) => write!(f, ": the hypervisor answers {}", errno.name()),
            (_, None, None) => Ok(()),
        }
    }
}

impl Cause for Error {
    fn source(&self) -> Option<&(dyn Cause + 'static)> {
        match &self.cause {
            Some(cause) => Some(&**cause),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn errors_name_the_operation_the_domain_and_the_reason() {
        let error = Error::new("pause", Some(7), Errno::ESRCH);
        assert_eq!(
            error.to_string(),
            "cannot pause (domain 7): there is no such domain (ESRCH)"
        );
        assert!(error.is_no_domain());
        let error = Error::because("reach the hypervisor", None, None, "no door");
        assert_eq!(error.to_string(), "cannot reach the hypervisor: no door");
        let error = Error::new("pin page tables", None, Errno::EINVAL);
        assert!(error.to_string().ends_with("EINVAL"), "{error}");
    }
}
