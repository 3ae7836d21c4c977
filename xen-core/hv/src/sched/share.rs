//! A domain's share of the CPUs: its weight and its cap.

use super::{Key, lock_queue_of, reschedule, unthrottle};
use crate::domain::Domain;
use crate::sync::Mutex;
use crate::time;
use core::sync::atomic::Ordering::SeqCst;
use core::sync::atomic::{AtomicBool, AtomicU32};
use xen_logic::sched::{Budget, DEFAULT_WEIGHT};

/// A domain's part: its weight and cap.
pub struct DomainSched {
    pub(super) weight: AtomicU32,
    /// In percent of one CPU, 0 for none.
    cap: AtomicU32,
    /// There is a cap.
    pub(super) capped: AtomicBool,
    pub(super) budget: Mutex<Budget>,
}

impl DomainSched {
    /// The usual weight, and no cap.
    pub const fn new() -> Self {
        DomainSched {
            weight: AtomicU32::new(DEFAULT_WEIGHT),
            cap: AtomicU32::new(0),
            capped: AtomicBool::new(false),
            budget: Mutex::new(Budget::unlimited()),
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
