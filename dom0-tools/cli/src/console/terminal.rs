//! This process's own terminal, in raw mode while a console is attached.

use std::io::{self, IsTerminal};

use nix::sys::termios::{SetArg, SpecialCharacterIndices, Termios, cfmakeraw, tcgetattr, tcsetattr};

/// Raw mode; what was before comes back when this is dropped.
pub struct RawMode {
    before: Option<Termios>,
}

impl RawMode {
    /// Takes standard input's terminal, if it is one.
    pub fn enter() -> io::Result<Self> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return Ok(Self { before: None });
        }
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        raw.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
        raw.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
        tcsetattr(&stdin, SetArg::TCSANOW, &raw)?;
        Ok(Self { before: Some(before) })
    }

    /// Standard input is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.before.is_some()
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // Nothing better can be done for a terminal that is gone.
            let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, before);
        }
    }
}
