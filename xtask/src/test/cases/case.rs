//! What a boot test is.

use anyhow::Result;

use crate::test::room::Room;

/// A boot test.
pub struct Case {
    /// Its name, on the command line and in docs/specification.md.
    pub name: &'static str,
    /// What it shows.
    pub about: &'static str,
    /// CPUs of its machine, or machines that run at once.
    pub cpus: u32,
    /// Seconds that it takes on two quiet cores; ten times that is a hang.
    pub normal: u64,
    /// Only with `--long`.
    pub long: bool,
    /// The test.
    pub run: Run,
}

/// What runs it.
pub type Run = fn(&mut Room<'_>) -> Result<()>;

/// One of the ordinary run.
pub const fn case(name: &'static str, cpus: u32, normal: u64, about: &'static str, run: Run) -> Case {
    Case {
        name,
        about,
        cpus,
        normal,
        long: false,
        run,
    }
}

/// Only with `--long`.
pub const fn long(mut case: Case) -> Case {
    case.long = true;
    case
}
