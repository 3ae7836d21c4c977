//! How a run of `xlr` ends when it does not succeed: message and exit code.
//!
//! Codes are xl's: 1 for a command that failed, 2 for options it does not know.

use std::fmt;
use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::message;

/// An error that carries the exit code it should end the program with.
#[derive(Debug)]
pub struct Failure {
    /// The program's exit code.
    pub code: u8,
    /// What is printed on standard error after `xlr: `.
    pub message: String,
}

impl Failure {
    /// An error that ends the program with `code`.
    #[allow(clippy::new_ret_no_self, reason = "every caller wants what commands return")]
    pub fn new(code: u8, message: impl Into<String>) -> anyhow::Error {
        Self {
            code,
            message: message.into(),
        }
        .into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The whole of `error` in one line: what was tried first, the last cause last, nothing twice.
pub fn text(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let words = cause.to_string();
        if !text.contains(&words) {
            text += if text.is_empty() { "" } else { ": " };
            text += &words;
        }
        // It has told the error number's meaning, which is all that is below it.
        if cause.is::<xenctrl::Error>() {
            break;
        }
    }
    text
}

/// Prints `error` and gives the code to end with.
pub fn report(error: &anyhow::Error) -> ExitCode {
    message::say(text(error));
    let code = error.downcast_ref::<Failure>().map_or(1, |failure| failure.code);
    ExitCode::from(code)
}

/// Prints what is wrong with the command line, or the help that was asked for. A command that does not exist is 1, as
/// in xl; wrong options and arguments are 2.
pub fn report_usage(error: &clap::Error) -> ExitCode {
    // A closed pipe is the reader's affair.
    let _ = error.print();
    let code = match error.kind() {
        ErrorKind::InvalidSubcommand => 1,
        _ if error.use_stderr() => 2,
        _ => 0,
    };
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn nothing_is_said_twice() {
        let inner = anyhow::anyhow!("no such file").context("cannot read a: no such file");
        let error = Err::<(), _>(inner).context("disk[0]").expect_err("an error");
        assert_eq!(text(&error), "disk[0]: cannot read a: no such file");
        let esrch = xenctrl::Error::new("pause", Some(3), xen_abi::Errno::ESRCH);
        assert_eq!(
            text(&esrch.into()),
            "cannot pause (domain 3): there is no such domain (ESRCH)"
        );
    }
}
