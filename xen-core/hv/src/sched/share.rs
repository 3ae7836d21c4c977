//! A domain's share of the CPUs: its weight and its cap.

use super::{CPUS, Key, lock_queue_of, online, reschedule, unthrottle};
use crate::arch::x86::mailbox::bits;
use crate::domain::Domain;
use crate::sync::Mutex;
use crate::time;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use xen_logic::sched::{Budget, DEFAULT_WEIGHT, MIN_TURN};

/// A domain's part: its weight and cap, and its pool.
pub struct DomainSched {
    pub(super) weight: AtomicU32,
    /// In percent of one CPU, 0 for none.
    cap: AtomicU32,
    /// There is a cap.
    pub(super) capped: AtomicBool,
    pub(super) budget: Mutex<Budget>,
    /// The number of its pool of CPUs, and the CPUs.
    pub(super) pool: AtomicU32,
    pub(super) cpus: AtomicU64,
}

impl DomainSched {
    /// The usual weight, and no cap.
    pub const fn new() -> Self {
        DomainSched {
            weight: AtomicU32::new(DEFAULT_WEIGHT),
            cap: AtomicU32::new(0),
            capped: AtomicBool::new(false),
            budget: Mutex::new(Budget::unlimited()),
            pool: AtomicU32::new(0),
            cpus: AtomicU64::new(u64::MAX),
        }
    }
}

/// The weight of a domain's vcpus, and the domain's cap in percent of one CPU (0 for none).
pub fn share(domain: &Domain) -> (u32, u32) {
    (domain.sched.weight.load(SeqCst), domain.sched.cap.load(SeqCst))
}

/// Sets what [`share`] tells.
pub fn set_share(domain: &Domain, weight: u32, cap: u32) {
    domain.sched.weight.store(weight, SeqCst);
    for v in domain.vcpus() {
        let (mut queue, _) = lock_queue_of(v);
        // SAFETY: the queue's lock is held.
        let inner = unsafe { v.sched.inner.get() };
        let queued = inner.queued && queue.remove(Key(v));
        inner.entity.set_weight(weight);
        if queued {
            queue.enter(Key(v), &inner.entity);
        }
    }
    let had = domain.sched.cap.swap(cap, SeqCst);
    if had != cap {
        *domain.sched.budget.lock() = Budget::new(cap, time::now());
        domain.sched.capped.store(cap != 0, SeqCst);
        // Those that run look at the new cap at once; those that waited for the old one to be refilled need not.
        for v in domain.vcpus() {
            reschedule(v);
            unthrottle(v);
        }
    }
}

/// The shortest turn in force, in nanoseconds.
static SHORTEST: AtomicU64 = AtomicU64::new(MIN_TURN);

/// The shortest turn that a vcpu has before one that wakes may take its CPU, in nanoseconds.
pub fn min_turn() -> u64 {
    SHORTEST.load(Relaxed)
}

/// Sets what [`min_turn`] tells, on all CPUs.
pub fn set_min_turn(ns: u64) {
    SHORTEST.store(ns, Relaxed);
    bits(online()).for_each(|cpu| CPUS.of(cpu).queue.lock().set_min_turn(ns));
}
