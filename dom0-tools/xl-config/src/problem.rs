//! What is wrong with a configuration, and where.

use std::fmt;
use std::sync::Arc;

/// A line of a file, or of what stands in for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name of the file, as the user gave it, or `command line`.
    pub source: Arc<str>,
    /// Line number from 1; 0 where lines mean nothing.
    pub line: u32,
}

impl Place {
    /// Line `line` of `source`.
    pub fn new(source: &Arc<str>, line: u32) -> Self {
        Self {
            source: Arc::clone(source),
            line,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.source),
            line => write!(f, "{}:{line}", self.source),
        }
    }
}

/// Whether a domain can be made in spite of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The domain can be made; something that was written has no effect.
    Warning,
    /// The domain must not be made.
    Error,
}

/// One thing that is wrong, printed as `demo.cfg:7: disk[0]: message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// Where it stands.
    pub place: Place,
    /// The key, with its index where it is a list; empty for syntax errors.
    pub subject: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Problem {
    /// An error at `place`.
    pub fn error(place: Place, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            place,
            subject: subject.into(),
            message: message.into(),
        }
    }

    /// A warning at `place`.
    pub fn warning(place: Place, subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            place,
            subject: subject.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if !self.subject.is_empty() {
            write!(f, "{}: ", self.subject)?;
        }
        f.write_str(&self.message)
    }
}
