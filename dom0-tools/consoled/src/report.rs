//! The daemon's own words, on standard error, with a time when it runs by itself.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::log::stamp_now;

static STAMPED: AtomicBool = AtomicBool::new(false);

/// From now on each line begins with the time.
pub fn begin_with_time() {
    STAMPED.store(true, Ordering::Relaxed);
}

/// Says one thing. A closed standard error is not an error.
pub fn report(text: &str) {
    let stamp = if STAMPED.load(Ordering::Relaxed) {
        stamp_now()
    } else {
        String::new()
    };
    let _ = writeln!(std::io::stderr(), "{stamp}xenconsoled: {text}");
}
