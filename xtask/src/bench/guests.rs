//! What guests cost: ours (hypervisor and tools) beside stock Xen with Debian's tools, on the same root disk.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::io;
use std::thread;

use anyhow::{Context, Result, bail};

use super::loads;
use super::stats::{Figure, figure};
use super::systems::{Bench, System};
use crate::dom0::initramfs::Additions;
use crate::guest_program;
use crate::machine::guest::{Guest, Seen};
use crate::progress::note;
use crate::workspace::{self, Scratch};

/// What starts the tools' daemons on the root disk.
pub const TOOLSTACK: &str = include_str!("toolstack.sh");
const SCRIPT: &str = include_str!("guests.sh");
/// Drivers that guests need in Dom0, and which the root disk does not have.
pub const MODULES: &str = "xen_evtchn xen_gntdev xen_gntalloc xen_privcmd xen_blkback xen_netback bridge loop xenfs";
const HYPERVISORS: [System; 2] = [System::Xen, System::Paravane];
/// Nodes of the stores that both daemons are asked about. Debian's takes many minutes to come to 100 000.
const NODES: &str = "10 10000";
/// And of the largest that ours is asked about.
const MANY: &str = "100000";

/// Something that is measured.
struct Kind {
    name: &'static str,
    about: &'static str,
    /// Ours divided by stock Xen's: at most this, or at least where it is a rate.
    bound: f64,
    is_rate: bool,
}

const fn kind(name: &'static str, bound: f64, about: &'static str) -> Kind {
    Kind {
        name,
        about,
        bound,
        is_rate: false,
    }
}

const fn rate(name: &'static str, bound: f64, about: &'static str) -> Kind {
    Kind {
        name,
        about,
        bound,
        is_rate: true,
    }
}

const KINDS: &[Kind] = &[
    kind(
        "create_cold_busy",
        1.0,
        "create with disk and network, nothing cached, without waits, µs",
    ),
    kind("create_warm", 0.1, "create with disk and network, again, µs"),
    kind("destroy", 0.1, "destroy, µs"),
    kind("disk_read_1M", 1.0, "256 MiB read by 1 MiB, µs"),
    kind("disk_read_4k", 1.0, "4000 x 4 KiB read, µs"),
    kind("disk_write_1M", 1.0, "256 MiB written by 1 MiB, µs"),
    kind("disk_write_4k", 1.0, "4000 x 4 KiB written, µs"),
    kind("tcp_out", 1.0, "64 MiB by TCP out of the guest, µs"),
    kind("tcp_in", 1.0, "64 MiB by TCP into the guest, µs"),
    kind("ping_2000", 1.0, "2000 pings, µs"),
];

/// What is asked of a store, for each number of nodes.
const STORE: &[Kind] = &[
    kind("store_read", 0.5, "xenstored's own time, read, ns"),
    kind("store_write", 0.5, "write, ns"),
    kind("store_transaction", 0.5, "transaction of three requests, ns"),
    kind("store_write_watched", 0.5, "write under a watch, ns"),
    rate("store_read_piped", 2.0, "reads a second, many under way"),
    rate("store_write_piped", 2.0, "writes a second, many under way"),
    rate(
        "store_write_watched_piped",
        2.0,
        "writes a second under a watch, many under way",
    ),
];
/// By how much more a request may take in the largest store than in the smallest.
const FLAT: f64 = 1.5;

/// Rows that are also taken by the wall clock.
const BY_THE_WALL: &[Kind] = &[
    kind("create_cold", 1.0, "create, nothing cached, by the wall clock, µs"),
    kind("create_warm", 0.1, "create, again, by the wall clock, µs"),
    kind("destroy", 0.1, "destroy, by the wall clock, µs"),
];

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was done, and the unit.
    pub about: String,
    /// Stock Xen, ours.
    pub figures: [Figure; 2],
    bound: f64,
    is_rate: bool,
}

impl Row {
    /// Ours as a part of stock Xen's.
    pub fn ratio(&self) -> f64 {
        self.figures[1].median / self.figures[0].median
    }

    /// Whether what is promised of this row holds.
    pub fn holds(&self) -> bool {
        if self.is_rate {
            self.ratio() >= self.bound
        } else {
            self.ratio() <= self.bound
        }
    }
}

/// Boots a system and runs the script.
fn run(bench: &Bench, system: System, by_the_wall: bool) -> Result<Told> {
    let scratch = Scratch::new()?;
    let tool = if system == System::Xen { "xl" } else { "xlr" };
    let quick = if by_the_wall { "1" } else { "" };
    let many = if system == System::Xen { "" } else { MANY };
    let script = format!("TOOL={tool}\nQUICK={quick}\nNODES=\"{NODES} {many}\"\n{TOOLSTACK}{SCRIPT}");
    let files = vec![
        ("script".to_owned(), script.into_bytes()),
        ("modules".to_owned(), MODULES.as_bytes().to_vec()),
        ("dom0-load".to_owned(), workspace::read(&guest_program::dom0_load()?)?),
    ];
    let additions = Additions {
        files,
        tools: true,
        cold: true,
        ..Additions::default()
    };
    let mut machine = bench.machine(system, &additions, scratch.path())?;
    machine.icount = !by_the_wall;
    machine.disk(&bench.disk, true);
    let log = workspace::image_dir()
        .join("logs")
        .join(format!("bench-guests-{system:?}.log").to_lowercase());
    machine.log = Some(log.clone());
    // From a cold disk Debian's device scripts run into libxl's time limit: where instructions are counted, the guest's
    // clock leaps over every wait.
    io::copy(&mut File::open(&bench.disk)?, &mut io::sink()).context("the root disk")?;
    let guest = Guest::start(&machine)?;
    let seen = guest.wait_for(bench.limit, |text| text.contains("\nBENCH-END").then_some(()));
    let console = guest.text();
    match seen {
        Seen::Found(()) => Ok(loads::parse(&console)
            .with_context(|| format!("{system:?}, see {}", log.display()))?
            .times),
        _ => bail!(
            "{system:?} did not come to the end of its guests, see {}",
            log.display()
        ),
    }
}

/// Both systems in turns, `rounds` times by instructions and as often by the wall clock.
pub fn measure(bench: &Bench, rounds: u32) -> Result<Vec<Row>> {
    let mut counted = [Vec::new(), Vec::new()];
    let mut wall = [Vec::new(), Vec::new()];
    for round in 1..=rounds {
        // Counted instructions do not depend on what runs beside; seconds do.
        let outcomes = thread::scope(|scope| {
            let runs = HYPERVISORS.map(|system| scope.spawn(move || run(bench, system, false)));
            runs.map(|run| run.join().unwrap_or_else(|_| bail!("a boot's thread died")))
        });
        for (index, outcome) in outcomes.into_iter().enumerate() {
            counted[index].push(outcome?);
        }
        for (index, system) in HYPERVISORS.into_iter().enumerate() {
            wall[index].push(run(bench, system, true)?);
        }
        note(format!("guests: round {round} of {rounds}"));
    }
    Ok(rows(&counted, &wall))
}

/// What a boot's console told: values by name.
type Told = BTreeMap<String, Vec<f64>>;

fn rows(counted: &[Vec<Told>; 2], wall: &[Vec<Told>; 2]) -> Vec<Row> {
    let same = |kind: &Kind, name: &str, about: String, told| row(kind, [name, name], about, told);
    let mut rows: Vec<Row> = Vec::new();
    rows.extend((KINDS.iter()).map(|kind| same(kind, kind.name, kind.about.to_owned(), counted)));
    for nodes in NODES.split(' ') {
        rows.extend(STORE.iter().map(|kind| {
            let about = format!("{}, {nodes} nodes", kind.about);
            same(kind, &format!("{}_{nodes}", kind.name), about, counted)
        }));
    }
    // Both columns are ours: the store of few nodes, and the largest.
    let ours = [counted[1].clone(), counted[1].clone()];
    let least = NODES.split(' ').next().unwrap_or_default();
    rows.extend(STORE.iter().filter(|kind| !kind.is_rate).map(|kind| {
        let names = [least, MANY].map(|nodes| format!("{}_{nodes}", kind.name));
        let about = format!("ours with {least} nodes, and with {MANY}: {}", kind.about);
        let flat = Kind { bound: FLAT, ..*kind };
        row(&flat, [&names[0], &names[1]], about, &ours)
    }));
    rows.extend((BY_THE_WALL.iter()).map(|kind| same(kind, kind.name, kind.about.to_owned(), wall)));
    rows
}

/// A row of two figures, each by its name. One that nobody told is no number, and holds nothing.
fn row(kind: &Kind, names: [&str; 2], about: String, told: &[Vec<Told>; 2]) -> Row {
    let of = |index: usize| {
        let values: Vec<f64> = told[index]
            .iter()
            .filter_map(|told: &Told| told.get(names[index]))
            .flatten()
            .copied()
            .collect();
        match values.as_slice() {
            [] => Figure {
                median: f64::NAN,
                spread: f64::NAN,
            },
            values => figure(values),
        }
    };
    Row {
        about,
        figures: [of(0), of(1)],
        bound: kind.bound,
        is_rate: kind.is_rate,
    }
}

/// The table, as printed and as written.
pub fn table(rows: &[Row]) -> String {
    let mut text =
        String::from("| | stock Xen, xl | Paravane, xlr | ours / Xen's | promised | |\n|---|---|---|---|---|---|\n");
    for row in rows {
        let sign = if row.is_rate { "at least" } else { "at most" };
        let holds = if row.holds() { "holds" } else { "DOES NOT HOLD" };
        let [xen, ours] = row
            .figures
            .each_ref()
            .map(|figure| format!("{:.0} ± {:.0}", figure.median, figure.spread / 2.0));
        let _ = writeln!(
            text,
            "| {} | {xen} | {ours} | {:.3} | {sign} {} | {holds} |",
            row.about,
            row.ratio(),
            row.bound
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_are_checked_both_ways() {
        let fixed = |median| Figure { median, spread: 0.0 };
        let row = |is_rate, bound, ours| Row {
            about: String::new(),
            figures: [fixed(100.0), fixed(ours)],
            bound,
            is_rate,
        };
        assert!(row(false, 0.5, 50.0).holds() && !row(false, 0.5, 51.0).holds());
        assert!(row(true, 2.0, 200.0).holds() && !row(true, 2.0, 199.0).holds());
        assert!(!row(false, 0.5, f64::NAN).holds() && !row(true, 0.5, f64::NAN).holds());
        assert!(table(&[row(true, 2.0, 10.0)]).contains("DOES NOT HOLD"));
    }
}
