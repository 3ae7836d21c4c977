//! Boot by the wall clock, and the memory a hypervisor keeps for itself.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::stats::{Figure, figure};
use super::systems::{Bench, System};
use crate::dom0::initramfs::Additions;
use crate::machine::guest::Guest;
use crate::run;
use crate::workspace::{self, Scratch};
use crate::{guest_program, progress};

const HYPERVISORS: [System; 2] = [System::Xen, System::Paravane];
const LIMIT: Duration = Duration::from_secs(300);

/// Seconds from QEMU's start to init, stock Xen's and ours, runs alternating.
pub fn seconds_to_init(bench: &Bench, rounds: u32) -> Result<[Figure; 2]> {
    let mut samples = [Vec::new(), Vec::new()];
    for round in 0..=rounds {
        for (index, system) in HYPERVISORS.into_iter().enumerate() {
            let scratch = Scratch::new()?;
            let machine = bench.machine(system, &Additions::default(), scratch.path())?;
            let begun = Instant::now();
            let guest = Guest::start(&machine)?;
            guest.expect("INIT UP", LIMIT)?;
            // The first round warms the host's caches.
            if round > 0 {
                samples[index].push(begun.elapsed().as_secs_f64());
            }
        }
        progress::note(format!("boot time: round {round} of {rounds}"));
    }
    Ok(samples.map(|samples| figure(&samples)))
}

/// MiB of the machine's memory that neither Dom0 has nor anyone could get, by the hypervisor's own counts.
pub fn kept_memory(bench: &Bench, system: System) -> Result<f64> {
    let scratch = Scratch::new()?;
    let mark = run::fresh_mark();
    let program = workspace::read(&guest_program::dom0_load()?)?;
    let command = Some(("/paravane/dom0-load --memory".to_owned(), mark.clone()));
    let additions = Additions {
        command,
        files: vec![("dom0-load".to_owned(), program)],
        ..Additions::default()
    };
    let machine = bench.machine(system, &additions, scratch.path())?;
    let output = match run::command_in_dom0(&machine, &mark, LIMIT, |_, _| {}) {
        Ok(finished) => finished.output,
        Err(failed) => return Err(failed.error),
    };
    let line = output.lines().find_map(|line| line.strip_prefix("MEMORY "));
    let line = line.with_context(|| format!("{system:?} did not tell its memory: {output}"))?;
    let pages: Vec<f64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match pages.as_slice() {
        [total, free, own] => Ok((total - free - own) / 256.0),
        _ => bail!("{system:?} told its memory as {line:?}"),
    }
}
