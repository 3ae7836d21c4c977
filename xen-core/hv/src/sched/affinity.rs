//! Where vcpus may run, and where they would rather.

use super::{CPUS, Key, ONLINE, lock_queue_of, reschedule, wake};
use crate::domain::Vcpu;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use xen_abi::Errno;
use xen_logic::cpupool::allowed;

/// The CPUs a vcpu may run on, as far as its pool has them.
pub fn affinity(v: &Vcpu) -> u64 {
    v.sched.wanted.load(SeqCst)
}

/// Sets the CPUs a vcpu may run on.
///
/// # Errors
/// `EINVAL` where none of them is online and in its domain's pool.
pub fn set_affinity(v: &'static Vcpu, mask: u64) -> Result<(), Errno> {
    if mask & ONLINE.load(Relaxed) & v.domain().sched.cpus.load(SeqCst) == 0 {
        return Err(Errno::EINVAL);
    }
    v.sched.wanted.store(mask, SeqCst);
    apply(v);
    Ok(())
}

/// A vcpu comes into another pool: it may run, and would rather run, on all CPUs of that.
pub(super) fn forget_wishes(v: &'static Vcpu) {
    forget_pin(v);
    v.sched.wanted.store(u64::MAX, SeqCst);
    v.sched.soft.store(u64::MAX, SeqCst);
}

/// Keeps a vcpu to what its affinity and its domain's pool allow by now. The words are read with its queue locked, so
/// that the last of several changes stands.
pub(super) fn apply(v: &'static Vcpu) {
    let (mut queue, cpu) = lock_queue_of(v);
    // SAFETY: the queue's lock is held.
    let inner = unsafe { v.sched.inner.get() };
    let pool = v.domain().sched.cpus.load(SeqCst);
    inner.entity.affinity = allowed(v.sched.wanted.load(SeqCst), pool, ONLINE.load(Relaxed));
    if inner.entity.allows(cpu) {
        return;
    }
    if inner.queued {
        queue.remove(Key(v));
        inner.queued = false;
        CPUS.of(cpu).waiting.fetch_sub(1, Relaxed);
        drop(queue);
        wake(v);
    } else {
        drop(queue);
        reschedule(v);
    }
}

/// As [`set_affinity`], by the toolstack's wish.
///
/// # Errors
/// `EBUSY` while the vcpu is pinned, for a moment, to one CPU; `EINVAL` where none is online.
pub fn set_hard_affinity(v: &'static Vcpu, mask: u64) -> Result<(), Errno> {
    if v.sched.unpinned.load(SeqCst) != 0 {
        return Err(Errno::EBUSY);
    }
    set_affinity(v, mask)
}

/// The CPUs a vcpu would rather run on.
pub fn soft_affinity(v: &Vcpu) -> u64 {
    v.sched.soft.load(SeqCst)
}

/// Sets the CPUs a vcpu would rather run on; where none of them is idle it goes anywhere it may.
pub fn set_soft_affinity(v: &Vcpu, mask: u64) {
    v.sched.soft.store(mask, SeqCst);
}

/// Pins a vcpu to one CPU until [`unpin`].
///
/// # Errors
/// `EBUSY` for one that is pinned, `EINVAL` for a CPU that is not online.
pub fn pin(v: &'static Vcpu, cpu: usize) -> Result<(), Errno> {
    let before = affinity(v);
    if v.sched.unpinned.compare_exchange(0, before, SeqCst, SeqCst).is_err() {
        return Err(Errno::EBUSY);
    }
    set_affinity(v, 1 << cpu).inspect_err(|_| v.sched.unpinned.store(0, SeqCst))
}

/// Gives a pinned vcpu the affinity back that it had before.
///
/// # Errors
/// `EINVAL` for one that is not pinned, or where none of those CPUs is online.
pub fn unpin(v: &'static Vcpu) -> Result<(), Errno> {
    match v.sched.unpinned.swap(0, SeqCst) {
        0 => Err(Errno::EINVAL),
        before => set_affinity(v, before),
    }
}

/// Ends a pin without going back: the vcpu gets another affinity now.
pub fn forget_pin(v: &Vcpu) {
    v.sched.unpinned.store(0, SeqCst);
}
