//! Time since boot, from the time-stamp counter.
//!
//! All CPUs count from one origin: counters are compared when a CPU starts, and a difference becomes that CPU's offset.

use crate::arch::x86::cpu::{has_invariant_tsc, rdtsc};
use crate::per_cpu;
use crate::sync::PerCpu;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use xen_logic::time::Scale;

/// The counter's value at time 0.
static ORIGIN: AtomicU64 = AtomicU64::new(0);
/// Ticks a second.
static HZ: AtomicU64 = AtomicU64::new(0);
/// Ticks to nanoseconds: factor and shift.
static RATE: AtomicU64 = AtomicU64::new(0);
/// What to add to a CPU's counter to get the boot CPU's.
static OFFSET: PerCpu<AtomicU64> = per_cpu!(AtomicU64::new(0));
/// Two CPUs' counters were seen to differ.
static DIFFER: AtomicBool = AtomicBool::new(false);

/// Starts time: it was 0 at `origin`, and the counter runs at `hz`.
pub fn init(origin: u64, hz: u64) {
    let rate = Scale::to_ns(hz);
    ORIGIN.store(origin, Relaxed);
    HZ.store(hz, Relaxed);
    RATE.store((rate.mul as u64) << 8 | rate.shift as u8 as u64, Relaxed);
}

/// The rate from ticks to nanoseconds; zero before [`init`].
#[inline]
pub fn rate() -> Scale {
    let word = RATE.load(Relaxed);
    Scale {
        mul: (word >> 8) as u32,
        shift: word as u8 as i8,
    }
}

/// The boot CPU's counter at time 0.
#[inline]
pub fn origin() -> u64 {
    ORIGIN.load(Relaxed)
}

/// Ticks of the time-stamp counter a second.
pub fn tsc_hz() -> u64 {
    HZ.load(Relaxed)
}

/// This CPU's counter, in the boot CPU's terms.
#[inline]
pub fn ticks() -> u64 {
    rdtsc().wrapping_add(OFFSET.this().load(Relaxed))
}

/// Nanoseconds since boot.
#[inline]
pub fn now() -> u64 {
    ns_at(ticks())
}

/// Nanoseconds since boot at a value of [`ticks`].
#[inline]
pub fn ns_at(ticks: u64) -> u64 {
    rate().apply(ticks.saturating_sub(ORIGIN.load(Relaxed)))
}

/// What must be added to CPU `cpu`'s counter to get the boot CPU's.
pub fn offset_of(cpu: usize) -> u64 {
    OFFSET.of(cpu).load(Relaxed)
}

/// Notes that CPU `cpu`'s counter needs `offset` added.
pub fn set_offset(cpu: usize, offset: u64) {
    if offset != 0 {
        DIFFER.store(true, Relaxed);
    }
    OFFSET.of(cpu).store(offset, Relaxed);
}

/// May a guest rely on reading the same time from every CPU's counter (`XEN_PVCLOCK_TSC_STABLE_BIT`)?
pub fn is_stable() -> bool {
    !DIFFER.load(Relaxed)
}

/// Does the counter keep its rate in all power states, as far as the CPU tells?
pub fn is_invariant() -> bool {
    has_invariant_tsc()
}

/// Waits, serving nothing.
pub fn delay_ns(ns: u64) {
    let end = now() + ns;
    while now() < end {
        core::hint::spin_loop();
    }
}
