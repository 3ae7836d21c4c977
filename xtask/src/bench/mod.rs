//! `cargo xtask bench`: what a hypervisor costs, ours beside stock Xen.

mod boot_time;
pub mod density;
pub mod drivers;
pub mod guest_paths;
pub mod guests;
mod loads;
pub mod on_disk;
mod report;
mod stats;
mod systems;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand};

use self::loads::{Factors, LOADS, Outcome};
use self::report::{Results, Row};
use self::stats::figure;
use self::systems::{Bench, SYSTEMS, System};
use crate::progress::note;
use crate::setup::{self, Overrides, kernel, rootdisk, xen};
use crate::{command, image, workspace};

/// Options of `bench`.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArgs {
    #[command(subcommand)]
    part: Option<Part>,
    /// Runs of each load, and boots of each system
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Boots that run side by side; instruction counts do not depend on it
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Only these loads, and no other tables
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// How often noisy loads are made twice as long
    #[arg(long, default_value_t = 3)]
    lengthen: u32,
    /// Only boot time, kept memory, instructions by path and guests
    #[arg(long)]
    no_loads: bool,
    /// Only guests: their making, disk, network, and xenstored
    #[arg(long)]
    guests: bool,
    /// Boots of each system with guests; counted rows repeat, and the others are medians within a boot
    #[arg(long, default_value_t = 1)]
    guest_rounds: u32,
    /// A multiboot image of stock Xen in the place of Debian's
    #[arg(long, value_name = "FILE")]
    xen: Option<PathBuf>,
    /// A hypervisor in the place of ours
    #[arg(long, value_name = "FILE")]
    hv: Option<PathBuf>,
    /// A root disk with stress-ng, hackbench and bash in the place of the one made from Debian's packages
    #[arg(long, value_name = "FILE")]
    root_disk: Option<PathBuf>,
}

/// Parts that are measured by themselves.
#[derive(Clone, Debug, Subcommand)]
enum Part {
    /// Instructions of each path between a guest in Rust and the hypervisor, beside stock Xen's
    Guest(guest_paths::GuestPathsArgs),
    /// Many small guests: how long each takes to make, what it costs in memory, beside stock Xen's
    Density(density::DensityArgs),
}

/// A boot that hangs is ended after this long.
const LIMIT: Duration = Duration::from_secs(3600);

/// Measurements of one system.
type Samples = Vec<Outcome>;

/// Boots every system `boots` times, in turns, and runs the loads there.
fn collect(bench: &Bench, args: &BenchArgs, factors: &Factors, boots: u32) -> Result<[Samples; 3]> {
    let jobs: Vec<System> = (0..boots).flat_map(|_| SYSTEMS).rev().collect();
    let total = jobs.len();
    let queue = Mutex::new((jobs, Vec::new()));
    let lock = || queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let Some(system) = lock().0.pop() else {
                        return;
                    };
                    let outcome = bench.measure(system, factors, args.rounds);
                    let mut state = lock();
                    state.1.push((system, outcome));
                    note(format!("loads: {} of {total} boots", state.1.len()));
                }
            });
        }
    });
    let mut samples = [Vec::new(), Vec::new(), Vec::new()];
    let (_, outcomes) = queue.into_inner().map_err(|_| anyhow!("a boot's thread died"))?;
    for (system, outcome) in outcomes {
        samples[system as usize].push(outcome?);
    }
    Ok(samples)
}

/// Rows out of samples.
fn rows(samples: &[Samples; 3], factors: &Factors) -> Vec<Row> {
    let names = LOADS
        .iter()
        .map(|load| load.name)
        .filter(|name| factors.contains_key(name))
        .chain(["init", "boot"]);
    names
        .map(|name| {
            let figures = samples.each_ref().map(|outcomes| {
                let times: Vec<f64> = outcomes
                    .iter()
                    .filter_map(|outcome| outcome.times.get(name))
                    .flatten()
                    .copied()
                    .collect();
                figure(&times)
            });
            Row::new(
                name,
                factors.get(name).copied().unwrap_or(1),
                figures,
                counters(&samples[2], name),
            )
        })
        .collect()
}

/// The median of each counter.
fn counters(outcomes: &[Outcome], load: &str) -> BTreeMap<String, u64> {
    let maps: Vec<&BTreeMap<String, u64>> = outcomes
        .iter()
        .filter_map(|outcome| outcome.counters.get(load))
        .collect();
    let names: BTreeSet<&String> = maps.iter().flat_map(|map| map.keys()).collect();
    let median = |name: &String| {
        let values: Vec<f64> = maps
            .iter()
            .filter_map(|map| map.get(name).map(|&value| value as f64))
            .collect();
        figure(&values).median as u64
    };
    names.into_iter().map(|name| (name.clone(), median(name))).collect()
}

/// Measures all loads; noisy ones again, longer.
fn measure_loads(bench: &Bench, args: &BenchArgs) -> Result<Vec<Row>> {
    let is_wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|only| only == name);
    let mut factors: Factors = LOADS
        .iter()
        .filter(|load| is_wanted(load.name))
        .map(|load| (load.name, 1))
        .collect();
    // One boot of each system runs all loads; the others are for the boot's own rows.
    let mut samples = collect(bench, args, &factors, 1)?;
    if args.only.is_empty() {
        let boots = collect(bench, args, &Factors::new(), args.rounds - 1)?;
        for (all, more) in samples.iter_mut().zip(boots) {
            all.extend(more);
        }
    }
    let mut table = rows(&samples, &factors);
    for _ in 0..args.lengthen {
        factors.retain(|name, _| table.iter().any(|row| row.name == *name && row.is_noisy()));
        if factors.is_empty() {
            break;
        }
        factors.values_mut().for_each(|factor| *factor *= 2);
        note(format!(
            "too noisy, so made longer: {}",
            factors.keys().copied().collect::<Vec<_>>().join(", ")
        ));
        for row in rows(&collect(bench, args, &factors, 1)?, &factors)
            .into_iter()
            .filter(|row| factors.contains_key(row.name.as_str()))
        {
            if let Some(old) = table.iter_mut().find(|old| old.name == row.name) {
                *old = row;
            }
        }
    }
    Ok(table)
}

/// What the hypervisors are by themselves.
fn measure_others(bench: &Bench, args: &BenchArgs, results: &mut Results) -> Result<()> {
    results.boot = Some(boot_time::seconds_to_init(bench, args.rounds)?);
    results.kept = Some([
        boot_time::kept_memory(bench, System::Xen)?,
        boot_time::kept_memory(bench, System::Paravane)?,
    ]);
    let ours = guest_paths::in_dom0s_place(&bench.paravane, &bench.over)?;
    let xen = guest_paths::in_dom0s_place(&bench.xen, &bench.over)?;
    results.micro = guest_paths::rows(&xen, &ours)?;
    Ok(())
}

fn surroundings(bench: &Bench) -> Result<Vec<String>> {
    let qemu = command::capture(Command::new(setup::qemu(&bench.over)?).arg("--version"))?;
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(vec![
        qemu.lines().next().unwrap_or_default().to_owned(),
        format!("Linux {}, Dom0 with 1024 MiB", kernel::find(&bench.over)?.version),
        format!("a machine of {cpus} CPUs"),
    ])
}

/// `cargo xtask bench`.
pub fn bench(args: &BenchArgs, over: &Overrides) -> Result<ExitCode> {
    match &args.part {
        Some(Part::Guest(args)) => return guest_paths::bench(args, over),
        Some(Part::Density(args)) => return density::bench(args, over),
        None => {}
    }
    let xen = args.xen.clone().map_or_else(xen::find, Ok)?;
    let paravane = args
        .hv
        .clone()
        .map_or_else(|| image::up_to_date().map(|image| image.elf32), Ok)?;
    let disk = args.root_disk.clone().map_or_else(rootdisk::find, Ok)?;
    std::fs::create_dir_all(workspace::image_dir().join("logs"))?;
    let bench = Bench {
        over: over.clone(),
        xen,
        paravane,
        disk,
        limit: LIMIT,
    };
    let size = |path: &PathBuf| std::fs::metadata(path).map(|meta| meta.len());
    let mut results = Results {
        image: [size(&bench.xen)?, size(&bench.paravane)?],
        ..Results::default()
    };
    results.surroundings = surroundings(&bench)?;
    if args.guests {
        let rows = guests::measure(&bench, args.guest_rounds)?;
        println!("{}", guests::table(&rows));
        write_page(
            "benchmarks-guests.md",
            &report::guests_page(&results.surroundings, &rows),
        )?;
        let holds = rows.iter().all(guests::Row::holds);
        return Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if !args.no_loads {
        results.rows = measure_loads(&bench, args)?;
        println!("{}", report::loads_table(&results.rows));
    }
    if !args.only.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    measure_others(&bench, args, &mut results)?;
    println!("{}", report::others(&results));
    if !args.no_loads {
        // What stands is kept, whatever becomes of the guests.
        write_page("benchmarks.md", &report::page(&results))?;
    }
    results.guests = guests::measure(&bench, args.guest_rounds)?;
    println!("{}", guests::table(&results.guests));
    if args.no_loads {
        return Ok(ExitCode::SUCCESS);
    }
    let page = report::guests_page(&results.surroundings, &results.guests);
    write_page("benchmarks-guests.md", &page)?;
    let worse = dearer(&results);
    if worse.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    note(format!("dearer than promised: {}", worse.join(", ")));
    Ok(ExitCode::FAILURE)
}

fn write_page(name: &str, text: &str) -> Result<()> {
    let page = workspace::root().join("docs").join(name);
    workspace::write(&page, text.as_bytes()).context("the benchmarks' page")?;
    note(format!("written to {}", page.display()));
    Ok(())
}

/// The rows that do not keep what is promised of them.
fn dearer(results: &Results) -> Vec<&str> {
    let loads = results.rows.iter().filter(|row| row.added()[1] > row.added()[0]);
    let guests = results.guests.iter().filter(|row| !row.holds());
    loads
        .map(|row| row.name.as_str())
        .chain(guests.map(|row| row.about.as_str()))
        .collect()
}
