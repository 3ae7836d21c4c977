//! `cargo xtask test`: the host tests, then the boots. Its last line is `N passed, N failed`.

pub mod boot;
pub mod cases;
pub mod host;
mod pair;
pub mod room;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::progress::note;
use crate::setup::Overrides;

/// Options of `test`.
#[derive(Args, Clone, Debug)]
pub struct TestArgs {
    #[command(subcommand)]
    part: Option<Part>,
    /// Also the long forms
    #[arg(long, global = true)]
    long: bool,
    /// Boot another multiboot hypervisor than ours
    #[arg(long, value_name = "FILE", global = true)]
    hv: Option<std::path::PathBuf>,
}

#[derive(Clone, Debug, Subcommand)]
enum Part {
    /// Only the tests that run on this machine itself
    Host,
    /// Only the boots, or only those whose name begins with NAME
    Boot {
        /// A test's name or its beginning; `list` lists them
        name: Option<String>,
    },
}

/// How many tests ended which way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Passed.
    pub passed: usize,
    /// Failed, or could not be run.
    pub failed: usize,
}

impl Tally {
    /// Counts another part's tests too.
    pub fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// `cargo xtask test`.
pub fn test(args: &TestArgs, over: &Overrides) -> Result<ExitCode> {
    let begun = Instant::now();
    let mut tally = Tally::default();
    let (host, boots) = match &args.part {
        None => (true, Some("")),
        Some(Part::Host) => (true, None),
        Some(Part::Boot { name }) => (false, Some(name.as_deref().unwrap_or_default())),
    };
    if boots == Some("list") {
        cases::list();
        return Ok(ExitCode::SUCCESS);
    }
    if host {
        tally.add(host::run(args.long)?);
    }
    if let Some(name) = boots {
        tally.add(boot::run(name, args.long, args.hv.as_deref(), over)?);
    }
    note(format!("{} s in all", begun.elapsed().as_secs()));
    println!("{} passed, {} failed", tally.passed, tally.failed);
    Ok(if tally.failed == 0 && tally.passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
