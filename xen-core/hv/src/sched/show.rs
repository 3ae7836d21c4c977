//! The scheduler's state for a person to read (`xl debug-keys`).

use super::{CPUS, NOWHERE, ONLINE, idle_time};
use crate::arch::x86::mailbox::bits;
use crate::domain::Vcpu;
use core::fmt;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};

/// A vcpu's state in one line.
pub struct Shown(pub &'static Vcpu);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sched = &self.0.sched;
        let place = |cpu: u32| (cpu != NOWHERE).then_some(cpu);
        write!(
            f,
            "held by {:#x}, queue of CPU {}, runs on {:?}, state on {:?}, hard affinity {:#x}, soft {:#x}",
            sched.held.load(SeqCst),
            sched.cpu.load(Relaxed),
            place(sched.running_on.load(SeqCst)),
            place(self.0.loaded_on.load(SeqCst)),
            super::affinity(self.0),
            sched.soft.load(Relaxed),
        )
    }
}

/// Prints each CPU's queue.
pub fn show_queues() {
    for cpu in bits(ONLINE.load(Relaxed)) {
        let this = CPUS.of(cpu);
        log::info!(
            "  CPU {cpu}: {} wait, weight of the one that runs {}, idle for {} ms",
            this.waiting.load(Relaxed),
            this.running.load(Relaxed),
            idle_time(cpu) / 1_000_000
        );
    }
}
