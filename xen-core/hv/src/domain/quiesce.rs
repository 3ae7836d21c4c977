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
use xen_logic::quiesce::{self, Number};

/// A number of a period, shared by CPUs.
struct Shared(AtomicU64);

impl Number for Shared {
    fn load(&self) -> u64 {
        self.0.load(SeqCst)
    }
    fn store(&self, value: u64) {
        self.0.store(value, SeqCst);
    }
    fn increment(&self) -> u64 {
        self.0.fetch_add(1, SeqCst) + 1
    }
}

/// The number of the last grace period that has begun.
static LAST: Shared = Shared(AtomicU64::new(0));
/// The number that [`LAST`] had when the CPU was last on the exit path with nothing in its hands.
static SEEN: PerCpu<Shared> = per_cpu!(Shared(AtomicU64::new(0)));

/// A grace period, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grace(pub u64);

/// Begins a grace period. What must not be found any more has been hidden before.
pub fn begin() -> Grace {
    let number = quiesce::begin(&LAST);
    for cpu in bits(smp::online_mask()) {
        percpu::raise_on(cpu, Work::QUIESCE);
    }
    Grace(number)
}

/// Is it over?
pub fn has_passed(grace: Grace) -> bool {
    bits(smp::online_mask()).all(|cpu| quiesce::has_passed(SEEN.of(cpu), grace.0))
}

/// This CPU is on the exit path and holds no reference to a domain or vcpu but `current` and what it has loaded.
pub fn note() {
    quiesce::note(&LAST, SEEN.this());
}
