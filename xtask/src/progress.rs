//! What is going on: a spinner on a terminal, one line a step elsewhere. All of it on standard error.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// One step of work; its line stays when the step took longer than a moment.
#[derive(Debug)]
pub struct Step {
    bar: Option<ProgressBar>,
    what: String,
    begun: Instant,
}

impl Step {
    /// Announces a step.
    pub fn new(what: impl Into<String>) -> Self {
        let what = what.into();
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.set_message(what.clone());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() {
            eprintln!("xtask: {what}");
        }
        Self {
            bar,
            what,
            begun: Instant::now(),
        }
    }

    /// Ends the step with a word about its result.
    pub fn done(self, result: impl AsRef<str>) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            if self.begun.elapsed() > Duration::from_secs(1) {
                eprintln!("xtask: {} ({})", self.what, result.as_ref());
            }
        } else {
            eprintln!("xtask:   {}", result.as_ref());
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A line for the person who runs xtask.
pub fn note(line: impl AsRef<str>) {
    eprintln!("xtask: {}", line.as_ref());
}
