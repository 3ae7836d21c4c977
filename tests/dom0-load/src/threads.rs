//! Threads of one address space that change it at once, so that every change must reach the other vcpus' TLBs.

use std::sync::{Condvar, Mutex};
use std::thread;

use crate::Check;
use crate::system::{Mapping, Numbers};

const THREADS: u64 = 4;
const PAGE_WORDS: usize = 512;

/// Churns mappings on all vcpus, then passes a token around.
pub(crate) fn run(rounds: u32) -> Check {
    let results: Vec<Check> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || churn(thread, 12 * rounds)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a thread died".to_owned())))
            .collect()
    });
    results.into_iter().collect::<Check>()?;
    token(100 * u64::from(rounds))
}

/// Maps, writes, changes rights and unmaps; a stale translation shows as another thread's words.
fn churn(thread: u64, turns: u32) -> Check {
    let mut numbers = Numbers(thread + 77);
    for _ in 0..turns {
        let pages = 16 + (numbers.next() % 48) as usize;
        let mut mapping = Mapping::new(pages * 4096, false)?;
        let own = thread << 56 | (numbers.next() >> 8);
        for (page, word) in mapping.words().iter_mut().step_by(PAGE_WORDS).enumerate() {
            if *word != 0 {
                return Err(format!("thread {thread} found {word:#x} in a fresh page"));
            }
            *word = own + page as u64;
        }
        mapping.protect(0, pages * 4096, libc::PROT_READ)?;
        thread::yield_now();
        mapping.protect(0, pages * 4096, libc::PROT_READ | libc::PROT_WRITE)?;
        for (page, word) in mapping.words().iter().step_by(PAGE_WORDS).enumerate() {
            if *word != own + page as u64 {
                return Err(format!("thread {thread} found {word:#x} in its page {page}"));
            }
        }
    }
    Ok(())
}

/// Threads that wait for each other's turn: each hand-over is a sleep and a wake-up.
fn token(turns: u64) -> Check {
    let turn = Mutex::new(0_u64);
    let changed = Condvar::new();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (turn, changed) = (&turn, &changed);
            scope.spawn(move || {
                for _ in 0..turns {
                    let guard = turn.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                    let waited = changed.wait_while(guard, |turn| *turn % THREADS != thread);
                    *waited.unwrap_or_else(|poisoned| poisoned.into_inner()) += 1;
                    changed.notify_all();
                }
            });
        }
    });
    let total = *turn.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if total == turns * THREADS {
        Ok(())
    } else {
        Err(format!("{total} turns of {}", turns * THREADS))
    }
}
