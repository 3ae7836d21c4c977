//! `cargo xtask bench guest`: instructions of each path between a guest and the hypervisor, stock Xen's beside ours,
//! counted by `pv-frontends/guests/bench`.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::drivers;
use crate::dom0::initramfs::Additions;
use crate::guest::{self, needs};
use crate::guest_program;
use crate::machine::guest::{Guest, Seen};
use crate::progress::note;
use crate::run::{self, RunArgs};
use crate::setup::{Overrides, xen};
use crate::workspace::Scratch;
use crate::{image, workspace};

/// Options of `bench guest`.
#[derive(Args, Clone, Debug)]
pub struct GuestPathsArgs {
    /// A multiboot image of stock Xen in the place of Debian's
    #[arg(long, value_name = "FILE")]
    pub xen: Option<PathBuf>,
    /// A hypervisor in the place of ours
    #[arg(long, value_name = "FILE")]
    pub hv: Option<PathBuf>,
    /// Leave out the events between two domains, and the drivers, which need boots of Dom0's tools
    #[arg(long)]
    pub alone: bool,
    /// Only the drivers: requests over those in Rust and over Linux's
    #[arg(long, conflicts_with = "alone")]
    pub drivers: bool,
}

const LIMIT: Duration = Duration::from_secs(600);
const GUEST: &str = "bench";

/// Each path and its instructions.
pub type Costs = Vec<(String, u64)>;

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The path.
    pub name: String,
    /// Stock Xen's instructions.
    pub xen: u64,
    /// Ours.
    pub ours: u64,
}

/// The `BENCH name value` lines; an error where the guest's checks did not all pass.
fn parse(output: &str) -> Result<Costs> {
    let counts = output
        .lines()
        .find_map(|line| line.trim().strip_suffix(" failed")?.split_once(" passed, "))
        .context("the guest did not come to its end")?;
    if counts.1 != "0" {
        let failed: Vec<&str> = output.lines().filter(|line| line.contains("FAIL ")).collect();
        bail!("checks of the guest failed:\n  {}", failed.join("\n  "));
    }
    let cost = |line: &str| {
        let (name, value) = line.trim().strip_prefix("BENCH ")?.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    Ok(output.lines().filter_map(cost).collect())
}

fn options(hv: &Path) -> RunArgs {
    RunArgs {
        hv: Some(hv.to_path_buf()),
        icount: true,
        ..RunArgs::plain()
    }
}

/// The guest in Dom0's place: everything but other domains.
pub fn in_dom0s_place(hv: &Path, over: &Overrides) -> Result<Costs> {
    let scratch = Scratch::new()?;
    let args = RunArgs {
        mem: 1024,
        hv_append: "dom0_mem=128M".to_owned(),
        ..options(hv)
    };
    let mut machine = run::machine(&args, over, &Additions::default(), scratch.path())?;
    machine.kernel = Some((guest_program::guest(GUEST)?, String::new()));
    machine.initrd = None;
    let guest = Guest::start(&machine)?;
    let seen = guest.wait_for(LIMIT, |text| text.contains("guest: exit ").then_some(()));
    let text = guest.text();
    if !matches!(seen, Seen::Found(())) {
        bail!("the guest did not come to its end in Dom0's place: {text}");
    }
    parse(&text)
}

/// The guest as a DomU, with a second one that sends its events back.
fn as_domu(hv: &Path, over: &Overrides) -> Result<Costs> {
    let scratch = Scratch::new()?;
    let mark = run::fresh_mark();
    let needs = needs::find(GUEST)?;
    let args = RunArgs {
        tools: true,
        ..options(hv)
    };
    let additions = Additions {
        command: Some((guest::linux::command_for_dom0(&needs), mark.clone())),
        files: guest::linux::files_for_dom0(&needs, "")?,
        tools: true,
        cold: false,
    };
    let machine = run::machine(&args, over, &additions, scratch.path())?;
    match run::command_in_dom0(&machine, &mark, LIMIT, |_, _| {}) {
        Ok(finished) => parse(&finished.output),
        Err(failed) => Err(failed.error.context(failed.console)),
    }
}

/// All that a hypervisor's paths cost.
fn costs(hv: &Path, over: &Overrides, alone: bool) -> Result<Costs> {
    let mut all = in_dom0s_place(hv, over)?;
    if !alone {
        let across = as_domu(hv, over)?
            .into_iter()
            .filter(|(name, _)| name.starts_with("event_across"));
        all.extend(across);
    }
    Ok(all)
}

/// Both hypervisors' costs side by side; an error where stock Xen lacks one.
pub fn rows(xen: &Costs, ours: &Costs) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, ours) in ours {
        let xen = xen.iter().find(|(other, _)| other == name);
        let (_, xen) = xen.with_context(|| format!("stock Xen has no {name}"))?;
        rows.push(Row {
            name: name.clone(),
            xen: *xen,
            ours: *ours,
        });
    }
    ensure!(!rows.is_empty(), "the guest measured nothing");
    Ok(rows)
}

/// A table, as printed, and what is dearer in it; `heads` are those of the first three columns and of the ratio.
fn table(heads: [&str; 4], rows: impl Iterator<Item = (String, u64, u64)>) -> (String, Vec<String>) {
    let mut text = format!("| {} | |\n|---|---|---|---|---|\n", heads.join(" | "));
    let mut dearer = Vec::new();
    for (name, other, ours) in rows {
        let ratio = ours as f64 / other as f64;
        let verdict = if ours <= other { "" } else { "DEARER" };
        let _ = writeln!(text, "| {name} | {other} | {ours} | {ratio:.3} | {verdict} |");
        if ours > other {
            dearer.push(name);
        }
    }
    (text, dearer)
}

/// `cargo xtask bench guest`.
pub fn bench(args: &GuestPathsArgs, over: &Overrides) -> Result<ExitCode> {
    let xen = args.xen.clone().map_or_else(xen::find, Ok)?;
    let ours = args
        .hv
        .clone()
        .map_or_else(|| image::up_to_date().map(|image| image.elf32), Ok)?;
    let (mut text, mut dearer) = (String::new(), Vec::new());
    let mut add = |(table, found): (String, Vec<String>)| {
        text += &format!("{table}\n");
        dearer.extend(found);
    };
    if !args.drivers {
        let rows = compare(&xen, &ours, over, args.alone)?.into_iter();
        let heads = ["path", "stock Xen", "Paravane", "ours / Xen's"];
        add(table(heads, rows.map(|row| (row.name, row.xen, row.ours))));
    }
    if !args.alone {
        note("counting requests of Linux's frontends and ours");
        let rows = drivers::measure(&ours, over)?.into_iter();
        let heads = ["request", "Linux's frontends", "pv-blk, pv-net", "ours / Linux's"];
        add(table(heads, rows.map(|row| (row.name, row.linux, row.ours))));
    }
    println!("{text}");
    workspace::write(&workspace::image_dir().join("bench-guest.md"), text.as_bytes())?;
    if dearer.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    note(format!("dearer than they may be: {}", dearer.join(", ")));
    Ok(ExitCode::FAILURE)
}

/// Measures both.
pub fn compare(xen: &Path, ours: &Path, over: &Overrides, alone: bool) -> Result<Vec<Row>> {
    std::fs::create_dir_all(workspace::image_dir())?;
    note("counting on stock Xen");
    let xen = costs(xen, over, alone)?;
    note("counting on Paravane");
    let ours = costs(ours, over, alone)?;
    rows(&xen, &ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_read_and_compared() {
        let text = "BENCH a 10\nok x\nBENCH b 7\n1 passed, 0 failed\nguest: exit 0\n";
        let ours = parse(text).unwrap();
        assert_eq!(ours, [("a".to_owned(), 10), ("b".to_owned(), 7)]);
        let xen = vec![("a".to_owned(), 9), ("b".to_owned(), 7)];
        let rows = rows(&xen, &ours).unwrap();
        let (text, dearer) = table(
            ["", "", "", ""],
            rows.into_iter().map(|row| (row.name, row.xen, row.ours)),
        );
        assert_eq!(dearer, ["a"]);
        assert!(
            text.contains("| a | 9 | 10 | 1.111 | DEARER |") && text.contains("| b | 7 | 7 | 1.000 |  |"),
            "{text}"
        );
    }

    #[test]
    fn a_guest_that_failed_measures_nothing() {
        assert!(parse("BENCH a 10\nFAIL x\n0 passed, 1 failed\n").is_err());
        assert!(parse("BENCH a 10\n").is_err());
        assert!(super::rows(&vec![], &vec![("a".to_owned(), 1)]).is_err());
    }
}
