//! Colour, where it helps and a person looks: on a terminal, unless `NO_COLOR` is set or the terminal is dumb.

use std::io::IsTerminal;

/// A meaning; which colour it has is told here alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tone {
    /// Headings.
    Strong,
    /// It runs.
    Good,
    /// It waits, on purpose.
    Calm,
    /// It needs a look: paused, ending.
    Notice,
    /// It is broken.
    Bad,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Strong => "1",
            Self::Good => "32",
            Self::Calm => "36",
            Self::Notice => "33",
            Self::Bad => "1;31",
        }
    }
}

/// Whether to paint.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// For standard output as it is.
    pub fn stdout() -> Self {
        let env = |name| std::env::var_os(name).unwrap_or_default();
        Self {
            on: std::io::stdout().is_terminal() && env("NO_COLOR").is_empty() && env("TERM") != "dumb",
        }
    }

    /// Never.
    #[cfg(test)]
    pub fn off() -> Self {
        Self { on: false }
    }

    /// `text` in the colour of `tone`; already padded, since the codes have no width.
    pub fn tone(self, tone: Tone, text: &str) -> String {
        if self.on {
            format!("\x1b[{}m{text}\x1b[0m", tone.code())
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_codes_is_added() {
        assert_eq!(Paint::off().tone(Tone::Bad, "c "), "c ");
        assert_eq!(Paint { on: true }.tone(Tone::Bad, "c "), "\x1b[1;31mc \x1b[0m");
    }
}
