//! The tests that need no guest: `cargo test`, its counts added up.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use super::Tally;
use crate::guest::needs;
use crate::progress::note;
use crate::setup::xen;
use crate::workspace;

/// Runs them; `long` sets `PARAVANE_LONG`, by which tests choose how much they try.
pub fn run(long: bool) -> Result<Tally> {
    let begun = Instant::now();
    // All but what runs without an operating system, and the load, which is a program.
    let mut plain = cargo(&["test", "--quiet", "--no-fail-fast", "--workspace"]);
    let mut excluded = needs::without_system()?;
    excluded.extend(["xen-hv", "dom0-load"].map(str::to_owned));
    for package in &excluded {
        plain.args(["--exclude", package]);
    }
    if long {
        plain.env("PARAVANE_LONG", "1");
    }
    match xen::store() {
        Ok(folder) => {
            plain.env("XENSTORED_PEER", folder);
        }
        Err(error) => note(format!("xenstored is not compared with Debian's: {error:#}")),
    }
    let mut tally = count(&mut plain)?;
    // The frame rules with two CPUs, and the event queues with a guest, every interleaving: with loom's atomic types.
    let mut loom = cargo(&[
        "test",
        "--quiet",
        "--release",
        "--package",
        "xen-logic",
        "--test",
        "loom_frame",
        "--test",
        "loom_fifo",
        "--test",
        "loom_grant",
        "--test",
        "loom_quiesce",
    ]);
    loom.arg("--target-dir")
        .arg(workspace::target().join("loom"))
        .env("RUSTFLAGS", "--cfg loom");
    loom.env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    tally.add(count(&mut loom)?);
    let seconds = begun.elapsed().as_secs_f64();
    note(format!(
        "host: {} passed, {} failed, {seconds:.1} s",
        tally.passed, tally.failed
    ));
    Ok(tally)
}

fn cargo(words: &[&str]) -> Command {
    let mut line = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    line.current_dir(workspace::root())
        .args(words)
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    line
}

/// Runs cargo and adds up what it counts; what it says besides is printed.
fn count(line: &mut Command) -> Result<Tally> {
    let mut child = line
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo test")?;
    let mut tally = Tally::default();
    if let Some(stdout) = child.stdout.take() {
        for text in BufReader::new(stdout).lines() {
            let text = text?;
            match counts(&text) {
                Some(part) => tally.add(part),
                // Progress dots of passing tests say nothing.
                None if text.trim().is_empty() || text.starts_with("running ") || text.starts_with('.') => {}
                None => println!("{text}"),
            }
        }
    }
    // Tests that do not compile have no counts.
    if !child.wait()?.success() && tally.failed == 0 {
        tally.failed = 1;
    }
    Ok(tally)
}

/// Reads `test result: ok. 12 passed; 0 failed; …`.
fn counts(line: &str) -> Option<Tally> {
    let rest = line.strip_prefix("test result: ")?;
    let number = |word: &str| {
        let before = rest.split(';').find_map(|part| part.trim().strip_suffix(word))?;
        before.split_whitespace().next_back()?.parse().ok()
    };
    Some(Tally {
        passed: number(" passed")?,
        failed: number(" failed")?,
    })
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn results_are_counted() {
        let tally = counts("test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out").unwrap();
        assert_eq!((tally.passed, tally.failed), (12, 3));
        assert!(counts("running 3 tests").is_none());
    }
}
