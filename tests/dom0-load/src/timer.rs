//! Time: it never runs backwards on any vcpu, sleeps are never short, interval timers fire.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Check;

static TICKS: AtomicU64 = AtomicU64::new(0);

extern "C" fn tick(_signal: i32) {
    TICKS.fetch_add(1, Ordering::Relaxed);
}

/// Sleeps, reads clocks on all vcpus, and takes interval signals.
pub(crate) fn run(rounds: u32) -> Check {
    for _ in 0..25 * rounds {
        let begun = Instant::now();
        thread::sleep(Duration::from_millis(10));
        let slept = begun.elapsed();
        if slept < Duration::from_millis(10) {
            return Err(format!("a sleep of 10 ms took {slept:?}"));
        }
    }
    interval(rounds)?;
    clocks_agree(rounds)
}

/// Fifty ticks of 5 ms while the CPU is kept busy.
fn interval(rounds: u32) -> Check {
    let period = libc::timeval {
        tv_sec: 0,
        tv_usec: 5000,
    };
    let timer = libc::itimerval {
        it_interval: period,
        it_value: period,
    };
    // SAFETY: the handler only counts; both structures live.
    let result = unsafe {
        libc::signal(libc::SIGALRM, tick as *const () as usize);
        libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut())
    };
    if result != 0 {
        return Err("setitimer".to_owned());
    }
    let wanted = TICKS.load(Ordering::Relaxed) + u64::from(50 * rounds);
    let begun = Instant::now();
    // The limit is a hang's, not a measure.
    while TICKS.load(Ordering::Relaxed) < wanted && begun.elapsed() < Duration::from_secs(120) {
        std::hint::spin_loop();
    }
    // SAFETY: zero is the timer's off state.
    unsafe {
        let off: libc::itimerval = std::mem::zeroed();
        libc::setitimer(libc::ITIMER_REAL, &raw const off, std::ptr::null_mut());
    }
    if TICKS.load(Ordering::Relaxed) < wanted {
        Err("interval signals stopped".to_owned())
    } else {
        Ok(())
    }
}

/// Threads publish the time they read; no thread may ever read an earlier one than was published before.
fn clocks_agree(rounds: u32) -> Check {
    let begun = Instant::now();
    let latest = AtomicU64::new(0);
    let backwards = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20_000 * rounds {
                    let published = latest.load(Ordering::SeqCst);
                    let now = begun.elapsed().as_nanos() as u64;
                    if now < published {
                        backwards.store(true, Ordering::Relaxed);
                    }
                    latest.fetch_max(now, Ordering::SeqCst);
                }
            });
        }
    });
    if backwards.load(Ordering::Relaxed) {
        Err("time ran backwards between vcpus".to_owned())
    } else {
        Ok(())
    }
}
