//! Whether a guest that moved answered whenever it did not stand still.
//!
//! The host `here` has pinged it all the time, sends it with odd moves and receives it with even ones. What it says has
//! stamps of its own clock, so that the other host's need not agree: of a move that was received, the other host tells
//! only how long the guest stood still.

use anyhow::{Context, Result, ensure};

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// A time that the guest stood still, in milliseconds of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    from: i64,
    to: i64,
}

impl Window {
    fn holds(&self, at: i64) -> bool {
        (at - self.from).rem_euclid(DAY) <= (self.to - self.from).rem_euclid(DAY)
    }
}

/// Checks that each lost ping falls into one of so many moves' windows; tells what was seen. `here` and `there` are what
/// the hosts printed.
pub fn judge(here: &str, there: &str, moves: usize) -> Result<String> {
    let windows = windows(here, there)?;
    ensure!(
        windows.len() == moves,
        "{} of {moves} moves told when the guest stood still",
        windows.len()
    );
    let sum = here
        .lines()
        .find_map(|line| line.strip_prefix("PINGS "))
        .context("no ping was counted")?;
    let lost = here.lines().filter_map(|line| line.strip_prefix("LOST "));
    let lost = lost.map(of_epoch).collect::<Option<Vec<i64>>>();
    let lost = lost.context("a lost ping has no time")?;
    let outside: Vec<String> = lost
        .iter()
        .filter(|at| !windows.iter().any(|window| window.holds(**at)))
        .map(|at| clock(*at))
        .collect();
    let spans: Vec<String> = windows
        .iter()
        .map(|window| format!("{} to {}", clock(window.from), clock(window.to)))
        .collect();
    ensure!(
        outside.is_empty(),
        "{} pings were lost while the guest ran: {}; it stood still from {}",
        outside.len(),
        outside.join(", "),
        spans.join(", ")
    );
    Ok(format!("pings: {sum}, none while the guest ran"))
}

/// The times that the guest stood still, by the clock of `here`.
fn windows(here: &str, there: &str) -> Result<Vec<Window>> {
    let mut windows: Vec<Window> = Vec::new();
    let mut asked = None;
    for line in here.lines() {
        let at = || of_stamp(line).with_context(|| format!("no time stands before: {line}"));
        if line.ends_with("the guest is asked to suspend") {
            asked = Some(at()?);
        } else if line.ends_with("the domain runs on the other host") {
            let from = asked
                .take()
                .context("the guest runs there, and was not asked to suspend")?;
            windows.push(Window { from, to: at()? });
        } else if line.ends_with("the guest has connected its devices") {
            let number = windows.len() + 1;
            let to = at()?;
            let down = down(there, number).with_context(|| format!("how long it stood still in move {number}"))?;
            windows.push(Window { from: to - down, to });
        }
    }
    Ok(windows)
}

/// What the sender of a move said of it, in milliseconds.
fn down(text: &str, number: usize) -> Option<i64> {
    let start = format!("MOVE {number} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start))?;
    let (_, rest) = line.split_once("down for ")?;
    of_epoch(rest.split_once(" s")?.0)
}

/// Seconds with a fraction, since a midnight, as milliseconds of a day.
fn of_epoch(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.trim().split_once('.')?;
    (fraction.len() == 3).then_some(())?;
    let millis = seconds.parse::<i64>().ok()? * 1000 + fraction.parse::<i64>().ok()?;
    Some(millis.rem_euclid(DAY))
}

/// The time of day before a message of `xlr -T`.
fn of_stamp(line: &str) -> Option<i64> {
    let mut parts = line.split(' ').nth(1)?.splitn(3, ':');
    let (hours, minutes) = (parts.next()?.parse::<i64>().ok()?, parts.next()?.parse::<i64>().ok()?);
    Some((hours * 60 + minutes) * 60_000 + of_epoch(parts.next()?)?)
}

fn clock(at: i64) -> String {
    let at = at.rem_euclid(DAY);
    let (hours, minutes) = (at / 3_600_000, at / 60_000 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{:03}", at / 1000 % 60, at % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two moves: 16:52:54.346 to 55.141, and 16:53:58.070 to 58.700.
    const HERE: &str = "\
2026-11-23 16:52:54.346 UTC [476] xlr: the guest is asked to suspend
2026-11-23 16:52:55.141 UTC [476] xlr: the domain runs on the other host
2026-11-23 16:53:58.700 UTC [492] xlr: the guest has connected its devices
PINGS 90 sent, 3 lost
";
    const THERE: &str = "MOVE 2 in 54.084 s, down for 0.630 s, 6 rounds, 44437 pages, 173 MiB\n";

    fn with_lost(times: &[&str]) -> String {
        let lost: String = times.iter().map(|time| format!("LOST {time}\n")).collect();
        format!("{lost}{HERE}")
    }

    #[test]
    fn what_is_lost_while_it_stands_still_is_no_loss() {
        // 1795452774 is 16:52:54 of its day.
        let here = with_lost(&["1795452774.346", "1795452775.100", "1795452838.100"]);
        let told = judge(&here, THERE, 2).expect("nothing is wrong");
        assert!(told.contains("90 sent, 3 lost"), "{told}");
    }

    #[test]
    fn what_is_lost_otherwise_is_named() {
        for time in ["1795452774.345", "1795452775.142", "1795452838.069", "1795452838.701"] {
            let error = judge(&with_lost(&[time]), THERE, 2).expect_err("a loss");
            assert!(error.to_string().contains("1 pings were lost"), "{error}");
        }
    }

    #[test]
    fn each_move_tells_its_window() {
        assert!(judge(HERE, THERE, 3).is_err());
        assert!(judge(HERE, "", 2).is_err());
        assert!(judge(&HERE.replace("PINGS", "pings"), THERE, 2).is_err());
    }

    #[test]
    fn a_window_may_hold_midnight() {
        let window = Window { from: DAY - 5, to: 5 };
        assert!(window.holds(DAY - 5) && window.holds(0) && window.holds(5));
        assert!(!window.holds(6) && !window.holds(DAY - 6));
    }
}
