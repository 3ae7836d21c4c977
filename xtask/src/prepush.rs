//! `cargo xtask prepush`: what must hold before a change leaves this machine, in under a minute when warm.

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::guest::needs;
use crate::progress::note;
use crate::test::host;
use crate::{command, image, lint, workspace};

fn cargo(words: &[&str]) -> Command {
    let mut line = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    line.current_dir(workspace::root()).args(words);
    line
}

/// `cargo xtask prepush`.
pub fn prepush() -> Result<()> {
    let begun = Instant::now();
    note("format");
    command::run(&mut cargo(&["fmt", "--all", "--check"]))?;
    note("clippy");
    let alone = needs::without_system()?;
    let mut everything = cargo(&[
        "clippy",
        "--quiet",
        "--all-targets",
        "--workspace",
        "--exclude",
        "xen-hv",
    ]);
    for package in &alone {
        everything.args(["--exclude", package]);
    }
    command::run(everything.args(["--", "--deny", "warnings"]))?;
    // What has no system is looked at without the features that others want of its dependencies.
    for package in &alone {
        command::run(&mut cargo(&[
            "clippy",
            "--quiet",
            "--package",
            package,
            "--",
            "--deny",
            "warnings",
        ]))?;
    }
    command::run(image::cargo("clippy").args(["--", "--deny", "warnings"]))?;
    lint::lint()?;
    let tally = host::run(false)?;
    if tally.failed > 0 {
        bail!("{} host tests failed", tally.failed);
    }
    note(format!("all well after {} s", begun.elapsed().as_secs()));
    Ok(())
}
