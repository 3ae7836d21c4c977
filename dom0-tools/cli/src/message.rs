//! What `xlr` says on standard error beside its output: always begun with `xlr`, on request with the time.

use std::fmt::Display;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::context::GlobalOptions;

/// How messages look and which are said. Set once, at the program's start; before that, and in tests, the usual.
static STYLE: OnceLock<Style> = OnceLock::new();

#[derive(Clone, Copy, Debug, Default)]
struct Style {
    details: bool,
    stamps: bool,
}

/// Takes the style from the options of the command line.
pub fn set_up(options: &GlobalOptions) {
    // A second call would find the same options.
    let _ = STYLE.set(Style {
        details: options.verbose > 0,
        stamps: options.timestamps,
    });
}

/// Says what everybody should know.
pub fn say(text: impl Display) {
    let stamps = STYLE.get().is_some_and(|style| style.stamps);
    let stamp = if stamps {
        format!("{} [{}] ", now(), std::process::id())
    } else {
        String::new()
    };
    eprintln!("{stamp}xlr: {text}");
}

/// Says that something is not as it should be, though the work goes on.
pub fn warn(text: impl Display) {
    say(format_args!("warning: {text}"));
}

/// Says what only those want to know who ask for details with `-v`.
pub fn detail(text: impl Display) {
    if STYLE.get().is_some_and(|style| style.details) {
        say(text);
    }
}

fn now() -> String {
    stamp(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Time since 1970 as date and time of day, UTC.
fn stamp(time: Duration) -> String {
    let (seconds, millis) = (time.as_secs(), time.subsec_millis());
    let (day, second) = (seconds / 86_400, seconds % 86_400);
    // Days are counted from 1 March of year 0, so that leap days come last: 400 years have 146097 days.
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let date = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{date:02} {hour:02}:{minute:02}:{second:02}.{millis:03} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, millis: u64) -> String {
        stamp(Duration::from_secs(seconds) + Duration::from_millis(millis))
    }

    #[test]
    fn stamps_are_right_around_leap_days() {
        assert_eq!(at(0, 0), "1970-01-01 00:00:00.000 UTC");
        assert_eq!(at(951_782_399, 0), "2000-02-28 23:59:59.000 UTC");
        assert_eq!(at(951_782_400, 0), "2000-02-29 00:00:00.000 UTC");
        assert_eq!(at(951_868_800, 0), "2000-03-01 00:00:00.000 UTC");
        assert_eq!(at(1_795_417_013, 250), "2026-11-23 06:56:53.250 UTC");
    }
}
