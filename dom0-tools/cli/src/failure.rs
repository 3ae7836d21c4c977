//! How a run of `xlr` ends when it does not succeed: message and exit code.
//!
//! Codes are xl's: 1 for a command that failed, 2 for options it does not know.

use std::fmt;
use std::process::ExitCode;

use clap::error::ErrorKind;

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

/// Prints `error` and gives the code to end with.
pub fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("xlr: {error:#}");
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
