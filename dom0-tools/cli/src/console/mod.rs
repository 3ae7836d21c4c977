//! A person at a guest's console: this terminal and the pty that the console daemon gives the guest.

mod session;
mod terminal;
mod tty;

pub use session::attach;
pub use terminal::RawMode;

use std::time::Duration;

/// ctrl-], which leaves a console.
pub const DEFAULT_ESCAPE: u8 = 0x1d;

/// How to attach.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which console of the domain; 0 is the one it boots on.
    pub number: u32,
    /// The byte that leaves the console.
    pub escape: u8,
    /// How long to wait for the console daemon to offer the console.
    pub wait: Duration,
    /// When standard input has ended and is no terminal: how long the console must be quiet before this ends, too.
    pub linger: Duration,
    /// Unpause the domain once the console is attached, so that not a word is missed.
    pub unpause: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            number: 0,
            escape: DEFAULT_ESCAPE,
            wait: Duration::from_secs(10),
            linger: Duration::from_secs(1),
            unpause: false,
        }
    }
}

/// The byte that a person means by `]`, `^]` or `\x1d`-like control letters: the control byte of the letter.
///
/// # Errors
/// It is not one character with a control byte.
pub fn parse_escape(text: &str) -> Result<u8, String> {
    let letter = text.strip_prefix('^').filter(|rest| !rest.is_empty()).unwrap_or(text);
    match letter.as_bytes() {
        [byte @ (b'@'..=b'_' | b'a'..=b'z')] => Ok(byte & 0x1f),
        _ => Err(format!(
            "'{text}' is no escape character: give a letter or one of [ ] \\ ^ _, as in '^]'"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_characters_are_written_as_people_write_them() {
        assert_eq!(parse_escape("^]"), Ok(0x1d));
        assert_eq!(parse_escape("]"), Ok(0x1d));
        assert_eq!(parse_escape("^a"), Ok(1));
        assert_eq!(parse_escape("^^"), Ok(0x1e));
        for bad in ["", "ab", "^", "1", "é"] {
            assert_eq!(parse_escape(bad).is_ok(), bad == "^", "{bad}");
        }
    }
}
