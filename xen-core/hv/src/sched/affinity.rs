//! Where vcpus may run, and where they would rather.

use super::{CPUS, Key, ONLINE, lock_queue_of, reschedule, wake};
use crate::domain::Vcpu;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use xen_abi::Errno;

/// The CPUs a vcpu may run on.
pub fn affinity(v: &Vcpu) -> u64 {
    let (_queue, _) = lock_queue_of(v);
    // SAFETY: the queue's lock is held.
    unsafe { v.sched.inner.get() }.entity.affinity
}

/// Sets the CPUs a vcpu may run on.
///
/// # Errors
/// `EINVAL` where none of them is online.
pub fn set_affinity(v: &'static Vcpu, mask: u64) -> Result<(), Errno> {
    if mask & ONLINE.load(Relaxed) == 0 {
        return Err(Errno::EINVAL);
    }
    let (mut queue, cpu) = lock_queue_of(v);
    // SAFETY: the queue's lock is held.
    let inner = unsafe { v.sched.inner.get() };
    inner.entity.affinity = mask;
    if inner.entity.allows(cpu) {
        return Ok(());
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
    Ok(())
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
/// `EINVAL` where none of those CPUs is online.
pub fn unpin(v: &'static Vcpu) -> Result<(), Errno> {
    match v.sched.unpinned.swap(0, SeqCst) {
        0 => Ok(()),
        before => set_affinity(v, before),
    }
}

/// Ends a pin without going back: the vcpu gets another affinity now.
pub fn forget_pin(v: &Vcpu) {
    v.sched.unpinned.store(0, SeqCst);
}
