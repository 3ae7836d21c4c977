//! Grace periods: when every CPU has been on its way out of the hypervisor since some moment.
//!
//! A CPU holds references to domains and vcpus that it did not count (`&'static Vcpu`, a test of `is_dying` that was
//! answered) only between an entry into the hypervisor and the exit path. So whatever could be found before a grace
//! period began, and cannot be found any more, is nobody's when it has passed.

use crate::arch::x86::mailbox::bits;
use crate::arch::x86::percpu::{self, Work};
use crate::arch::x86::smp;
use crate::per_cpu;
use crate::sync::PerCpu;
use core::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// The number of the last grace period that has begun.
static LAST: AtomicU64 = AtomicU64::new(0);
/// The number that [`LAST`] had when the CPU was last on the exit path with nothing in its hands.
static SEEN: PerCpu<AtomicU64> = per_cpu!(AtomicU64::new(0));

/// A grace period, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grace(pub u64);

/// Begins a grace period. What must not be found any more has been hidden before.
pub fn begin() -> Grace {
    let number = LAST.fetch_add(1, SeqCst) + 1;
    for cpu in bits(smp::online_mask()) {
        percpu::raise_on(cpu, Work::QUIESCE);
    }
    Grace(number)
}

/// Is it over?
pub fn has_passed(grace: Grace) -> bool {
    bits(smp::online_mask()).all(|cpu| SEEN.of(cpu).load(SeqCst) >= grace.0)
}

/// This CPU is on the exit path and holds no reference to a domain or vcpu but `current` and what it has loaded.
pub fn note() {
    SEEN.this().store(LAST.load(SeqCst), SeqCst);
}
