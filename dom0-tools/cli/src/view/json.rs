//! Standard output: JSON, or text as it is. A reader that has seen enough (`| head`) is no error.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;

/// Prints `value`, indented, with a line's end.
///
/// # Errors
/// Standard output cannot be written.
pub fn print(value: &impl Serialize) -> Result<ExitCode> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    print_text(&text)
}

/// Prints a whole text at once.
///
/// # Errors
/// Standard output cannot be written.
pub fn print_text(text: &str) -> Result<ExitCode> {
    write_out(text)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a piece of an output that goes on. False when nobody reads any more.
///
/// # Errors
/// Standard output cannot be written.
pub fn write_out(text: &str) -> Result<bool> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}
