//! How far a save, a restore or a migration is, and how fast it goes.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use crate::message;

/// Time between two lines on a terminal.
const REFRESH: Duration = Duration::from_millis(200);
const MIB: u64 = 1 << 20;

/// Counts what goes over and tells of it: on a terminal all the time, else at the end of each step.
#[derive(Debug)]
pub struct Progress {
    verb: &'static str,
    begun: Instant,
    step: Instant,
    told: Instant,
    bytes: u64,
    of_step: u64,
    live: bool,
    quiet: bool,
    line: usize,
}

impl Progress {
    /// Begins now. `verb` is what is done: "saving".
    pub fn new(verb: &'static str, quiet: bool) -> Self {
        let now = Instant::now();
        Self {
            verb,
            begun: now,
            step: now,
            told: now,
            bytes: 0,
            of_step: 0,
            live: stderr().is_terminal(),
            quiet,
            line: 0,
        }
    }

    /// So many more bytes went over; `done` of `all` pages of this step are done.
    pub fn advance(&mut self, bytes: u64, done: usize, all: usize) {
        self.bytes += bytes;
        self.of_step += bytes;
        if self.quiet || !self.live || self.told.elapsed() < REFRESH {
            return;
        }
        self.told = Instant::now();
        let percent = done * 100 / all.max(1);
        let rate = rate(self.of_step, self.step.elapsed());
        let text = format!(
            "xlr: {}: {percent} %, {} of {} pages, {rate} MiB/s",
            self.verb, done, all
        );
        let room = self.line.max(text.len());
        self.line = text.len();
        // Nobody must see it.
        let _ = write!(stderr(), "\r{text:room$}");
    }

    /// A step has ended: says what it did.
    pub fn end_step(&mut self, what: &str) {
        let text = format!(
            "{}: {what}: {} MiB in {:.1} s, {} MiB/s",
            self.verb,
            self.of_step / MIB,
            self.step.elapsed().as_secs_f64(),
            rate(self.of_step, self.step.elapsed())
        );
        self.say(text);
        (self.of_step, self.step) = (0, Instant::now());
    }

    /// Says something between the lines of progress.
    pub fn say(&mut self, text: impl std::fmt::Display) {
        if self.quiet {
            return message::detail(text);
        }
        if self.line != 0 {
            let _ = write!(stderr(), "\r{:1$}\r", "", self.line);
            self.line = 0;
        }
        message::say(text);
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Bytes since the beginning.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// MiB a second, in whole numbers.
fn rate(bytes: u64, time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    bytes.saturating_mul(1000) / millis / MIB
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_time_they_took() {
        assert_eq!(rate(10 * MIB, Duration::from_secs(2)), 5);
        assert_eq!(rate(MIB, Duration::ZERO), 1000);
    }
}
