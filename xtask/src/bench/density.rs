//! `cargo xtask bench density`: many small guests, made one after the other under Linux's Dom0; stock Xen with Debian's
//! tools beside ours.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use super::on_disk::OnDisk;
use super::stats::figure;
use crate::progress::note;
use crate::setup::{Overrides, xen};
use crate::{guest_program, image, workspace};

/// Options of `bench density`.
#[derive(Args, Clone, Debug)]
pub struct DensityArgs {
    /// How many guests
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(20..=1000))]
    guests: u32,
    /// A multiboot image of stock Xen in the place of Debian's
    #[arg(long, value_name = "FILE")]
    xen: Option<PathBuf>,
    /// A hypervisor in the place of ours
    #[arg(long, value_name = "FILE")]
    hv: Option<PathBuf>,
    /// Which system to boot; stock Xen with Debian's tools takes far longer
    #[arg(long, value_enum, default_value_t = Which::Both)]
    on: Which,
    /// Show what the last run on each system came to, and boot none
    #[arg(long)]
    from_logs: bool,
}

/// Systems of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Which {
    /// Stock Xen, too
    Both,
    /// Paravane alone
    Ours,
    /// Stock Xen alone
    Peer,
}

/// Log names and columns' headings: Debian's tools on stock Xen, ours on Paravane.
const SYSTEMS: [(&str, &str); 2] = [("xl", "stock Xen, xl"), ("xlr", "Paravane, xlr")];

/// Where the table of both is written.
const PAGE: &str = "docs/benchmarks-density.md";
const SCRIPT: &str = include_str!("density.sh");
/// Before the daemons start: terminals for the consoles, and as many open files as they need.
const BEFORE: &str = "ulimit -n 16384\nmkdir -p /dev/pts && mount -t devpts pts /dev/pts\n";
const GUEST: &str = "small";
/// MiB of each guest.
const GUEST_MIB: u32 = 8;
/// Guests of which the first and the last times are taken: one alone is at the mercy of Dom0's own timers.
const ENDS: usize = 10;
/// The last guests may take so much longer than the first.
const LAST_TO_FIRST: f64 = 1.5;
/// KiB that Dom0 may keep: its event channels' and mappings' tables in the hypervisor grow with the first guests, and stay.
const KEPT_MAX: i64 = 512;
/// Stock Xen takes about an hour for 300 guests.
const LIMIT: Duration = Duration::from_secs(3 * 3600);

/// What one system did.
#[derive(Clone, Debug, Default)]
struct Outcome {
    /// Nanoseconds of each creation.
    creates: Vec<f64>,
    /// KiB free in the hypervisor: before, with all guests, after.
    memory: [i64; 3],
    /// Guests that answered over the store and at the console.
    answers: [u32; 2],
    /// Milliseconds until all were gone.
    gone: u64,
    /// What went wrong.
    failures: Vec<String>,
}

impl Outcome {
    fn parse(console: &str) -> Result<Self> {
        let mut outcome = Self::default();
        let mut ended = false;
        for line in console.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["CREATE", _, time] => outcome.creates.push(time.parse()?),
                ["MEMORY", before, loaded, after] => {
                    outcome.memory = [before.parse()?, loaded.parse()?, after.parse()?];
                }
                ["ANSWERS", store, console] => outcome.answers = [store.parse()?, console.parse()?],
                ["GONE", time] => outcome.gone = time.parse()?,
                ["FAILED", ..] => outcome.failures.push(line.to_owned()),
                ["DENSITY-END"] => ended = true,
                _ => {}
            }
        }
        if !ended || outcome.creates.len() < 2 * ENDS {
            bail!("{} guests were made, then nothing more came", outcome.creates.len());
        }
        Ok(outcome)
    }

    /// Medians of the first and the last creations.
    fn ends(&self) -> [f64; 2] {
        let last = self.creates.len() - ENDS;
        [&self.creates[..ENDS], &self.creates[last..]].map(|times| figure(times).median)
    }

    /// KiB that a guest takes beside its own pages.
    fn overhead(&self) -> f64 {
        let taken = (self.memory[0] - self.memory[1]) as f64;
        taken / self.creates.len() as f64 - f64::from(GUEST_MIB) * 1024.0
    }

    /// KiB that did not come back.
    fn kept(&self) -> i64 {
        self.memory[0] - self.memory[2]
    }

    /// What is promised and does not hold.
    fn complaints(&self, wanted: u32) -> Vec<String> {
        let mut list = self.failures.clone();
        let [first, last] = self.ends();
        let mut must = |holds: bool, what: String| {
            if !holds {
                list.push(what)
            }
        };
        must(
            self.creates.len() == wanted as usize,
            format!("{} of {wanted} were made", self.creates.len()),
        );
        must(
            last <= first * LAST_TO_FIRST,
            format!("the last takes {:.2} times the first's", last / first),
        );
        must(
            self.answers == [wanted; 2],
            format!("{:?} of {wanted} answered by store, console", self.answers),
        );
        must(
            self.kept() <= KEPT_MAX,
            format!("{} KiB did not come back", self.kept()),
        );
        list
    }
}

fn log_name(tool: &str) -> String {
    format!("bench-density-{tool}")
}

/// Boots one system and runs the script there.
fn measure(hv: &Path, tool: &str, count: u32, limit: Duration, over: &Overrides) -> Result<Outcome> {
    let place = OnDisk {
        hv,
        tool,
        script: [&format!("{BEFORE}COUNT={count}\n"), SCRIPT],
        end: "DENSITY-END",
        files: vec![
            ("dom0-load".to_owned(), workspace::read(&guest_program::dom0_load()?)?),
            (GUEST.to_owned(), workspace::read(&guest_program::guest(GUEST)?)?),
        ],
        mem: 2048 + count * (GUEST_MIB + 1),
        icount: true,
        limit,
        log: log_name(tool),
    };
    let log = place.log_file();
    Outcome::parse(&place.run(over)?).with_context(|| format!("{tool}, see {}", log.display()))
}

/// So many guests on ours, as a test: what they cost as a table, and what is promised and does not hold.
pub fn check(hv: &Path, count: u32, limit: Duration, over: &Overrides) -> Result<(String, Vec<String>)> {
    let outcome = measure(hv, "xlr", count, limit, over)?;
    Ok((table(&[(SYSTEMS[1].1, &outcome)]), outcome.complaints(count)))
}

/// Every tenth part of the curve: milliseconds by instructions.
fn curve(outcome: &Outcome) -> Vec<(usize, f64)> {
    let parts = outcome.creates.len().div_ceil(10);
    let medians = outcome.creates.chunks(parts).map(|part| figure(part).median / 1e6);
    medians
        .enumerate()
        .map(|(index, value)| ((index * parts) + 1, value))
        .collect()
}

/// The tables, as printed.
fn table(columns: &[(&str, &Outcome)]) -> String {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let mut text = format!("| | {} |\n|---{}|\n", names.join(" | "), "|---".repeat(names.len()));
    let mut row = |what: &str, cell: &dyn Fn(&Outcome) -> String| {
        let cells: Vec<String> = columns.iter().map(|(_, outcome)| cell(outcome)).collect();
        let _ = writeln!(text, "| {what} | {} |", cells.join(" | "));
    };
    row("guests", &|outcome| outcome.creates.len().to_string());
    let points: Vec<Vec<(usize, f64)>> = columns.iter().map(|(_, outcome)| curve(outcome)).collect();
    for index in 0..points.first().map_or(0, Vec::len) {
        let cells: Vec<String> = points
            .iter()
            .map(|curve| {
                curve
                    .get(index)
                    .map_or("-".to_owned(), |(_, value)| format!("{value:.1}"))
            })
            .collect();
        let from = points[0][index].0;
        let _ = writeln!(text, "| create from guest {from} on, ms | {} |", cells.join(" | "));
    }
    let mut row = |what: &str, cell: &dyn Fn(&Outcome) -> String| {
        let cells: Vec<String> = columns.iter().map(|(_, outcome)| cell(outcome)).collect();
        let _ = writeln!(text, "| {what} | {} |", cells.join(" | "));
    };
    row("last ten to first ten", &|outcome| {
        let [first, last] = outcome.ends();
        format!("{:.2}", last / first)
    });
    row("KiB a guest beside its own 8 MiB", &|outcome| {
        format!("{:.1}", outcome.overhead())
    });
    row("answers by store, console", &|outcome| {
        format!("{}, {}", outcome.answers[0], outcome.answers[1])
    });
    row("all destroyed within ms", &|outcome| outcome.gone.to_string());
    row("KiB that did not come back", &|outcome| outcome.kept().to_string());
    text
}

/// The page with the table of both.
fn page(table: &str) -> String {
    format!(
        "# Many guests\n\n\
         Written by `cargo xtask bench density`: guests of {GUEST_MIB} MiB (`guest-small`), made one after the other in \
         Linux's Dom0 on\nthe same root disk, by Debian's `xl` on stock Xen and by `xlr` on Paravane, each with its own \
         daemons. By\ninstructions (`-icount shift=0,sleep=off`): a millisecond is a million of them. A row of the curve is \
         the median of the\ntenth of the guests that begins there. Promised is that the last ten take at most \
         {LAST_TO_FIRST} times what the first ten take,\nthat all answer, and that at most {KEPT_MAX} KiB do not come back: \
         what Dom0 and the hypervisor keep for their next guests.\n\n{table}"
    )
}

/// What one system did, in a new run or the last one.
fn outcome(tool: &str, args: &DensityArgs, over: &Overrides) -> Result<Outcome> {
    if args.from_logs {
        let log = workspace::image_dir().join("logs").join(log_name(tool) + ".log");
        let console = String::from_utf8_lossy(&workspace::read(&log)?).replace('\r', "");
        return Outcome::parse(&console).with_context(|| format!("{}", log.display()));
    }
    let hv = match tool {
        "xl" => args.xen.clone().map_or_else(xen::find, Ok)?,
        _ => args
            .hv
            .clone()
            .map_or_else(|| image::up_to_date().map(|image| image.elf32), Ok)?,
    };
    note(format!("{} guests by {tool}", args.guests));
    measure(&hv, tool, args.guests, LIMIT, over)
}

/// `cargo xtask bench density`.
pub fn bench(args: &DensityArgs, over: &Overrides) -> Result<ExitCode> {
    std::fs::create_dir_all(workspace::image_dir().join("logs"))?;
    let wanted = SYSTEMS.into_iter().filter(|(tool, _)| match args.on {
        Which::Both => true,
        Which::Ours => *tool == "xlr",
        Which::Peer => *tool == "xl",
    });
    let outcomes = wanted
        .map(|(tool, heading)| Ok((heading, outcome(tool, args, over)?)))
        .collect::<Result<Vec<(&str, Outcome)>>>()?;
    let made = |outcome: &Outcome| outcome.creates.len();
    if let [(_, one), (_, other)] = &outcomes[..]
        && made(one) != made(other)
    {
        bail!(
            "the logs are of {} and of {} guests; run both with as many",
            made(one),
            made(other)
        );
    }
    let columns: Vec<(&str, &Outcome)> = outcomes.iter().map(|(heading, outcome)| (*heading, outcome)).collect();
    let text = table(&columns);
    println!("{text}");
    if args.on == Which::Both {
        workspace::write(&workspace::root().join(PAGE), page(&text).as_bytes())?;
        note(format!("written to {PAGE}"));
    }
    let ours = outcomes.iter().filter(|(heading, _)| *heading == SYSTEMS[1].1);
    let complaints: Vec<String> = ours.flat_map(|(_, ours)| ours.complaints(args.guests)).collect();
    if complaints.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    note(format!("not as promised: {}", complaints.join("; ")));
    Ok(ExitCode::FAILURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(last: u32, answers: u32, after: u32) -> String {
        let mut text = String::new();
        for number in 1..=30 {
            let time = if number > 15 { last } else { 1000 };
            text += &format!("CREATE {number} {time}\n");
        }
        text + &format!("ANSWERS {answers} 30\nGONE 7\nMEMORY 1000000 750000 {after}\nDENSITY-END\n")
    }

    #[test]
    fn promises_are_checked() {
        let complaints = |text: &str| Outcome::parse(text).unwrap().complaints(30);
        assert_eq!(complaints(&console(1500, 30, 999_900)), Vec::<String>::new());
        for bad in [
            console(1501, 30, 999_900),
            console(1000, 29, 999_900),
            console(1000, 30, 999_000),
        ] {
            assert_eq!(complaints(&bad).len(), 1, "{bad}");
        }
        assert!(!complaints(&format!("FAILED up 3\n{}", console(1000, 30, 1_000_000))).is_empty());
        assert!(Outcome::parse("CREATE 1 5\nDENSITY-END\n").is_err());
    }

    #[test]
    fn the_curve_has_ten_points() {
        let outcome = Outcome::parse(&console(1200, 30, 1_000_000)).unwrap();
        assert_eq!(curve(&outcome).len(), 10);
        assert!((outcome.overhead() - (250_000.0 / 30.0 - 8192.0)).abs() < 0.01);
        assert!(table(&[("a", &outcome), ("b", &outcome)]).contains("| create from guest 28 on, ms | 0.0 | 0.0 |"));
    }
}
