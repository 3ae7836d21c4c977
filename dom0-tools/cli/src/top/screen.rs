//! The terminal as a screen of lines: its own page, no cursor, keys as they come; all undone at the end.

use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{self, SigSet};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::render::Size;
use crate::console::RawMode;

/// What a signal means here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// The window has another size.
    Resized,
    /// End.
    End,
}

/// The terminal while it is ours.
pub struct Screen {
    _mode: RawMode,
    signals: SignalFd,
}

impl Screen {
    /// Takes the terminal.
    pub fn enter() -> Result<Self> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            bail!("there is no terminal to show this on: use --batch, with --iterations to end");
        }
        let mut mask = SigSet::empty();
        let wanted = [signal::SIGWINCH, signal::SIGTERM, signal::SIGHUP, signal::SIGINT];
        wanted.into_iter().for_each(|signal| mask.add(signal));
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let mode = RawMode::enter().context("cannot put the terminal into raw mode")?;
        // The other page, no cursor.
        write_now("\x1b[?1049h\x1b[?25l")?;
        Ok(Self { _mode: mode, signals })
    }

    /// Its size; what is usual where the terminal does not know.
    pub fn size(&self) -> Size {
        match rustix::termios::tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => Size {
                columns: size.ws_col.into(),
                lines: size.ws_row.into(),
            },
            _ => Size { columns: 80, lines: 24 },
        }
    }

    /// Shows lines from the top, and nothing below.
    pub fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        // Each line is overwritten and its rest cleared: nothing flickers.
        let mut text = "\x1b[H".to_owned();
        text += &lines
            .iter()
            .map(|line| format!("{line}\x1b[K"))
            .collect::<Vec<_>>()
            .join("\r\n");
        text += "\x1b[J";
        write_now(&text)
    }

    /// Readable when a signal has come.
    pub fn signals(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }

    /// The signal that has come.
    pub fn take_signal(&mut self) -> Result<Option<Signal>> {
        let taken = self.signals.read_signal()?;
        Ok(taken.map(|info| {
            if info.ssi_signo == signal::SIGWINCH as u32 {
                Signal::Resized
            } else {
                Signal::End
            }
        }))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = write_now("\x1b[?25h\x1b[?1049l");
    }
}

fn write_now(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
