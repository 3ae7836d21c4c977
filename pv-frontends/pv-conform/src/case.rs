//! What a case is, and the lines that tell how it went.
use crate::Bench;
use alloc::string::String;
use core::fmt;
use pv_hal::Hal;
use pv_xenbus::Store;

/// Why a case did not pass.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stop {
    /// What was expected did not happen.
    Failed(String),
    /// There is nothing to expect here: a device, a feature or a helper is missing.
    NotApplicable(String),
}

impl From<pv_hal::Error> for Stop {
    fn from(error: pv_hal::Error) -> Stop {
        Stop::Failed(alloc::format!("{error}"))
    }
}

impl From<pv_xenbus::Error> for Stop {
    fn from(error: pv_xenbus::Error) -> Stop {
        Stop::Failed(alloc::format!("{error}"))
    }
}

/// How a case ends.
pub type Outcome = Result<(), Stop>;

/// An expected behaviour.
pub struct Case<H: Hal, S: Store> {
    /// `PROTOCOL/what-with-hyphens`; the protocol is one of `console`, `xenbus`, `block`, `net`.
    pub name: &'static str,
    /// The public header that says so, below `xen/include/public`.
    pub header: &'static str,
    /// The expectation, in a few words.
    pub expects: &'static str,
    /// Tries it. It leaves the device as it found it.
    pub run: fn(&Bench<H, S>) -> Outcome,
}

/// How many cases ended which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// As expected.
    pub passed: usize,
    /// Otherwise.
    pub failed: usize,
    /// Not applicable.
    pub skipped: usize,
}

/// Runs the cases whose name begins with `wanted`, in order. `broken` names one whose first expectation is turned into
/// its opposite: it must be reported as failed. The lines are `cases N`, then for each case
/// `case NAME pass`, `case NAME fail WHY` or `case NAME n/a WHY`.
pub fn run<H: Hal, S: Store>(
    cases: &[Case<H, S>],
    bench: &mut Bench<H, S>,
    wanted: &str,
    broken: Option<&str>,
    report: &mut dyn FnMut(fmt::Arguments<'_>),
) -> Tally {
    let is_wanted = |case: &&Case<H, S>| case.name.starts_with(wanted);
    report(format_args!("cases {}", cases.iter().filter(is_wanted).count()));
    let mut tally = Tally::default();
    for case in cases.iter().filter(is_wanted) {
        bench.begin(broken == Some(case.name));
        match (case.run)(bench) {
            Ok(()) => {
                tally.passed += 1;
                report(format_args!("case {} pass", case.name));
            }
            Err(Stop::Failed(why)) => {
                tally.failed += 1;
                report(format_args!("case {} fail {why}", case.name));
            }
            Err(Stop::NotApplicable(why)) => {
                tally.skipped += 1;
                report(format_args!("case {} n/a {why}", case.name));
            }
        }
    }
    tally
}
