//! A domain is hidden and freed by one CPU while another finds and uses it: every interleaving, by loom.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test -p xen-logic --release --test loom_quiesce`.
#![cfg(loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use loom::thread;
use xen_logic::quiesce::{self, Number};

/// Loom has no sequential consistency; what is asked for here is weaker than what the hypervisor has.
struct Cell(AtomicU64);

impl Number for Cell {
    fn load(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
    fn store(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }
    fn increment(&self) -> u64 {
        self.0.fetch_add(1, Ordering::AcqRel) + 1
    }
}

struct World {
    listed: AtomicBool,
    last: Cell,
    seen: [Cell; 2],
    /// Does what may be freed exist? Relaxed: a use that is not ordered before the end may find it gone.
    exists: AtomicBool,
}

fn world() -> Arc<World> {
    Arc::new(World {
        listed: AtomicBool::new(true),
        last: Cell(AtomicU64::new(0)),
        seen: [Cell(AtomicU64::new(0)), Cell(AtomicU64::new(0))],
        exists: AtomicBool::new(true),
    })
}

/// Enters, uses the domain if it is there, and leaves, so many times.
fn user(world: &World, cpu: usize, rounds: usize) {
    for _ in 0..rounds {
        if world.listed.load(Ordering::Acquire) {
            assert!(world.exists.load(Ordering::Relaxed), "used after its end");
        }
        quiesce::note(&world.last, &world.seen[cpu]);
    }
}

/// Frees the domain if the period is over by the time that it looks.
fn destroyer(world: &World, users: usize) {
    world.listed.store(false, Ordering::Release);
    let number = quiesce::begin(&world.last);
    if world.seen[..users].iter().all(|seen| quiesce::has_passed(seen, number)) {
        world.exists.store(false, Ordering::Relaxed);
    }
}

fn race(users: usize, rounds: usize) {
    loom::model(move || {
        let world = world();
        let threads: Vec<_> = (0..users)
            .map(|cpu| {
                let world = world.clone();
                thread::spawn(move || user(&world, cpu, rounds))
            })
            .collect();
        destroyer(&world, users);
        threads.into_iter().for_each(|t| t.join().unwrap());
    });
}

#[test]
fn freed_after_the_last_use_of_one_cpu() {
    race(1, 2);
}

#[test]
fn freed_after_the_last_use_of_two_cpus() {
    race(2, 1);
}
