//! Runs the boot tests: at most two guest CPUs at a time, since guests that share a core wait for each other.

use std::path::Path;
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Instant;

use anyhow::{Result, bail};

use super::Tally;
use super::cases::{self, Case};
use super::room::{Room, Shared};
use crate::dom0::tools;
use crate::setup::{Overrides, kernel};
use crate::{image, setup, workspace};

const GUEST_CPUS: u32 = 2;

struct Queue<'a> {
    waiting: Vec<&'a Case>,
    free: u32,
    tally: Tally,
}

/// Runs all tests whose name begins with `name`.
pub fn run(name: &str, long: bool, hv: Option<&Path>, over: &Overrides) -> Result<Tally> {
    let exact = cases::all().any(|case| case.name == name);
    let wanted = |case: &&Case| {
        if exact {
            case.name == name
        } else {
            case.name.starts_with(name)
        }
    };
    let mut waiting: Vec<&Case> = cases::all()
        .filter(wanted)
        .filter(|case| long || !case.long || exact)
        .collect();
    if waiting.is_empty() {
        bail!("no boot test is called {name}*; `cargo xtask test boot list` lists them");
    }
    // What all of them need is made once, before the first.
    setup::qemu(over)?;
    kernel::find(over)?;
    if waiting.iter().any(|case| {
        ["guest", "conform", "parity", "migration", "sides", "virsh"]
            .iter()
            .any(|word| case.name.starts_with(word))
    }) {
        tools::find(over.tools_from.as_deref())?;
    }
    let hv = match hv {
        Some(file) => file.to_path_buf(),
        None => image::up_to_date()?.elf32,
    };
    let shared = Shared::new(over.clone(), hv);
    std::fs::create_dir_all(workspace::image_dir().join("logs"))?;
    // The longest first, so that none is left to run alone at the end.
    waiting.sort_by_key(|case| case.normal * u64::from(case.cpus));
    let queue = Mutex::new(Queue {
        waiting,
        free: GUEST_CPUS,
        tally: Tally::default(),
    });
    let freed = Condvar::new();
    thread::scope(|scope| {
        for _ in 0..GUEST_CPUS {
            scope.spawn(|| work(&queue, &freed, &shared));
        }
    });
    let queue = queue.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    Ok(queue.tally)
}

/// Takes tests that fit into the free CPUs until there are none left.
fn work(queue: &Mutex<Queue<'_>>, freed: &Condvar, shared: &Shared) {
    let lock = || queue.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut state = lock();
    loop {
        let free = state.free;
        let Some(at) = state.waiting.iter().rposition(|case| case.cpus.min(GUEST_CPUS) <= free) else {
            if state.waiting.is_empty() {
                return;
            }
            state = freed.wait(state).unwrap_or_else(|poisoned| poisoned.into_inner());
            continue;
        };
        let case = state.waiting.remove(at);
        let taken = case.cpus.min(GUEST_CPUS);
        state.free -= taken;
        drop(state);
        let passed = judge(case, shared);
        state = lock();
        state.free += taken;
        state.tally.add(Tally {
            passed: usize::from(passed),
            failed: usize::from(!passed),
        });
        freed.notify_all();
    }
}

fn judge(case: &Case, shared: &Shared) -> bool {
    let begun = Instant::now();
    let mut room = match Room::new(case, shared) {
        Ok(room) => room,
        Err(error) => {
            println!("boot {:<18} FAILED: {error:#}", case.name);
            return false;
        }
    };
    let result = (case.run)(&mut room);
    let log = room.write_log();
    let seconds = begun.elapsed().as_secs_f64();
    match result {
        Ok(()) => {
            println!("boot {:<18} ok     {seconds:6.1} s", case.name);
            true
        }
        Err(error) => {
            let tail = room.tail();
            println!(
                "boot {:<18} FAILED {seconds:6.1} s: {error:#}\n  console (all of it in {}):\n{tail}",
                case.name,
                log.display()
            );
            false
        }
    }
}
