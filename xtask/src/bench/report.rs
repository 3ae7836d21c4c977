//! The tables of `docs/benchmarks.md`.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::loads::{LOADS, with_length};
use super::stats::Figure;
use super::{guest_paths, guests};

/// One row: a load on all systems.
#[derive(Clone, Debug)]
pub struct Row {
    /// The load's name.
    pub name: String,
    /// What was done.
    pub about: String,
    /// Linux alone, stock Xen, Paravane, in microseconds.
    pub figures: [Figure; 3],
    /// Trace counters of ours.
    pub counters: BTreeMap<String, u64>,
}

impl Row {
    /// A load's row.
    pub fn new(name: &str, factor: u32, figures: [Figure; 3], counters: BTreeMap<String, u64>) -> Self {
        let load = LOADS.iter().find(|load| load.name == name);
        let about = match load {
            Some(load) => with_length(load.about, load.length * factor),
            None if name == "init" => "kernel's start to init".to_owned(),
            None => "kernel's start to the run script, without its waits for the disk".to_owned(),
        };
        Self {
            name: name.to_owned(),
            about,
            figures,
            counters,
        }
    }

    /// What a hypervisor adds: stock Xen, ours.
    pub fn added(&self) -> [f64; 2] {
        [
            self.figures[1].median - self.figures[0].median,
            self.figures[2].median - self.figures[0].median,
        ]
    }

    /// Whether the measurements differ too much among themselves for the difference to be told.
    pub fn is_noisy(&self) -> bool {
        let spread = self.figures.iter().map(|figure| figure.spread).fold(0.0, f64::max);
        spread > self.added()[0].abs().max(self.added()[1].abs()) / 4.0
    }
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub struct Results {
    /// Loads.
    pub rows: Vec<Row>,
    /// Instructions by path.
    pub micro: Vec<guest_paths::Row>,
    /// Guests, which have a page of their own.
    pub guests: Vec<guests::Row>,
    /// Seconds to init: stock Xen, ours.
    pub boot: Option<[Figure; 2]>,
    /// MiB kept: stock Xen, ours.
    pub kept: Option<[f64; 2]>,
    /// Bytes of the image: stock Xen, ours.
    pub image: [u64; 2],
    /// What was used: QEMU, kernel, machine.
    pub surroundings: Vec<String>,
}

fn ms(value: f64) -> String {
    let value = value / 1000.0;
    if value.abs() < 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}

fn cell(figure: &Figure) -> String {
    format!("{} ± {}", ms(figure.median), ms(figure.spread / 2.0))
}

/// Counters beside each row: heading, name in the hypervisor's table.
const COLUMNS: [(&str, &str); 8] = [
    ("hypercalls", "hypercalls"),
    ("in multicalls", "multicall entries"),
    ("CR3 loads", "cr3 loads"),
    ("full flushes", "full flushes"),
    ("invlpg", "invlpg"),
    ("IPIs", "ipis"),
    ("iret exits", "exits by iret"),
    ("sysret exits", "exits by sysret"),
];

/// The table of loads, as printed and as written.
pub fn loads_table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| load | Linux alone, ms | on stock Xen, ms | on Paravane, ms | added by Xen | added by Paravane | ours / Xen's |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let [xen, ours] = row.added();
        let noisy = if row.is_noisy() { " (noisy)" } else { "" };
        let [bare, on_xen, on_ours] = row.figures.each_ref().map(cell);
        let _ = writeln!(
            text,
            "| {}: {}{noisy} | {bare} | {on_xen} | {on_ours} | {} | {} | {:.2} |",
            row.name,
            row.about,
            ms(xen),
            ms(ours),
            ours / xen
        );
    }
    text
}

fn counters_table(rows: &[Row]) -> String {
    let headings: Vec<&str> = COLUMNS.iter().map(|(heading, _)| *heading).collect();
    let mut text = format!(
        "| load | {} |\n|---{}|\n",
        headings.join(" | "),
        "|---".repeat(COLUMNS.len())
    );
    for row in rows.iter().filter(|row| !row.counters.is_empty()) {
        let cells = COLUMNS
            .iter()
            .map(|(_, name)| row.counters.get(*name).map_or("-".to_owned(), u64::to_string));
        let _ = writeln!(text, "| {} | {} |", row.name, cells.collect::<Vec<_>>().join(" | "));
    }
    text
}

/// The tables about the hypervisors themselves.
pub fn others(results: &Results) -> String {
    let mut text = String::from("| | stock Xen | Paravane |\n|---|---|---|\n");
    let [xen, ours] = results.image;
    let _ = writeln!(text, "| image, bytes | {xen} | {ours} |");
    if let Some([xen, ours]) = results.kept {
        let _ = writeln!(text, "| memory kept for itself, MiB (of 3072) | {xen:.1} | {ours:.1} |");
    }
    if let Some([xen, ours]) = results.boot {
        let _ = writeln!(
            text,
            "| QEMU's start to Dom0's init, s | {:.2} (spread {:.2}) | {:.2} (spread {:.2}) |",
            xen.median, xen.spread, ours.median, ours.spread
        );
    }
    for row in &results.micro {
        let _ = writeln!(text, "| instructions: {} | {} | {} |", row.name, row.xen, row.ours);
    }
    text
}

/// The whole page.
pub fn page(results: &Results) -> String {
    let mut text = String::from(INTRODUCTION);
    for line in &results.surroundings {
        let _ = writeln!(text, "- {line}");
    }
    let _ = writeln!(text, "\n## Loads\n\n{}", loads_table(&results.rows));
    text += "± is half of the spread, largest minus smallest. A row is noisy where the largest spread of the three \
             exceeds a quarter of the added cost, however long the load was made.\n\n";
    let _ = writeln!(
        text,
        "## What Paravane did meanwhile\n\nMedian of the measured runs, from the trace counters.\n"
    );
    let _ = writeln!(text, "{}", counters_table(&results.rows));
    let _ = writeln!(text, "## The hypervisors themselves\n\n{}", others(results));
    text + CLOSING
}

/// The page about guests.
pub fn guests_page(surroundings: &[String], rows: &[guests::Row]) -> String {
    let surroundings: String = surroundings.iter().map(|line| format!("- {line}\n")).collect();
    format!("{GUESTS}\n{surroundings}\n{}", guests::table(rows))
}

const INTRODUCTION: &str = "# Benchmarks

Written by `cargo xtask bench`, which repeats all of it: it fetches stock Xen from Debian's packages, makes a root disk
with the loads, and boots the same Debian kernel alone, as Dom0 on stock Xen and as Dom0 on Paravane, in turns. QEMU
counts instructions (`-icount shift=0,sleep=off`), so a millisecond is a million instructions, whatever the machine
does meanwhile; one vcpu. In one boot of each system each load runs once to warm up and five times to be measured; four
more boots are for the rows of the boot itself. A load whose spread exceeds a quarter of the added cost is made longer
and measured again.

";

const GUESTS: &str = "# Benchmarks of guests

Written by `cargo xtask bench --guests`, which is a part of `cargo xtask bench`. Stock Xen with Debian's xl, xenstored and
xenconsoled beside Paravane with its own, on the same root disk, with the same guest (Debian's kernel, a RAM disk in
Dom0 behind blkback, netback on a bridge). By instructions (`-icount shift=0,sleep=off`), but where the wall clock is
named; those rows are medians of five, and noisy on a busy machine. xenstored's own time is its process's on the CPU, by
the kernel's count.
";

const CLOSING: &str = "
Both hypervisors were given the same decompressed kernel (vmlinux) and RAM disk; Linux alone was given the bzImage, and
its time to decompress itself is not in the table. Until the script runs, Dom0 waits for the disk, and while it is idle
its clock leaps ahead of its instructions, as far as the machine's disk is slow: the boot row has the time that Linux
counts as idle or waiting taken off; the loads' files stand in memory. Instruction counting favours flushes, since a CR3
load, an `invlpg` and an IPI count as one instruction each: the counters stand beside the times for that reason. Boot to
init is by the wall clock, runs alternating, after one run to warm up.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_knows_what_is_added_and_whether_it_is_noisy() {
        let figure = |median, spread| Figure { median, spread };
        let figures = [figure(1000.0, 10.0), figure(2000.0, 10.0), figure(1400.0, 10.0)];
        let mut row = Row::new("fork", 2, figures, BTreeMap::new());
        assert_eq!(row.added(), [1000.0, 400.0]);
        assert!(!row.is_noisy());
        assert_eq!(row.about, "1000 forks");
        row.figures[2].spread = 300.0;
        assert!(row.is_noisy());
        assert!(loads_table(&[row]).contains("0.40"));
    }
}
