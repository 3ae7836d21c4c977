//! Which CPU a vcpu waits for.

use super::{CPUS, Inner, Key, NOWHERE, ONLINE, Queue};
use crate::arch::x86::mailbox::bits;
use crate::arch::x86::percpu::{self, Work};
use crate::domain::Vcpu;
use core::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use xen_logic::sched::{choose_cpu, worth_moving};

/// The CPUs that have nothing to run, as far as one can see.
fn idle_mask(online: u64) -> u64 {
    bits(online)
        .filter(|cpu| CPUS.of(*cpu).idle.load(Relaxed))
        .fold(0, |mask, cpu| mask | 1 << cpu)
}

/// Where `v`, which wakes and belongs to `last`'s queue, should wait. Where its state still is, in any case, unless it
/// may not run there.
#[inline]
pub(super) fn place(v: &Vcpu, inner: &Inner, last: usize) -> usize {
    let online = ONLINE.load(Relaxed);
    let loaded = v.loaded_on.load(Acquire);
    if loaded != NOWHERE && inner.entity.allows(loaded as usize) {
        return loaded as usize;
    }
    if online & online.wrapping_sub(1) == 0 {
        return last;
    }
    let idle = idle_mask(online);
    let liked = inner.entity.affinity & v.sched.soft.load(Relaxed);
    let wanted = if liked & idle != 0 {
        liked
    } else {
        inner.entity.affinity
    };
    choose_cpu(wanted, online, idle, last)
}

/// What a CPU has to do, those that wait and the one that runs.
fn load(cpu: usize, queue: &Queue) -> u32 {
    queue.load() + CPUS.of(cpu).running.load(Relaxed)
}

/// Takes a vcpu that waits on another CPU, for `cpu`, whose queue is `mine` and empty.
pub(super) fn steal(cpu: usize, mine: &mut Queue, now: u64) -> Option<&'static Vcpu> {
    let others = ONLINE.load(Relaxed) & !(1 << cpu);
    for from in bits(others) {
        if CPUS.of(from).waiting.load(Relaxed) == 0 {
            continue;
        }
        let Some(mut theirs) = CPUS.of(from).queue.try_lock() else {
            continue;
        };
        if let Some(Key(v)) = theirs.give_away(|key, _| may_move(key.0, cpu)) {
            CPUS.of(from).waiting.fetch_sub(1, Relaxed);
            // SAFETY: the lock of the queue it came from is held.
            let inner = unsafe { v.sched.inner.get() };
            mine.adopt(&mut inner.entity, now);
            inner.queued = false;
            v.sched.cpu.store(cpu as u32, SeqCst);
            return Some(v);
        }
    }
    None
}

/// Makes an idle CPU other than `cpu` look for work, if there is one.
#[cold]
pub(super) fn call_idle(cpu: usize) {
    let idle = idle_mask(ONLINE.load(Relaxed) & !(1 << cpu));
    if idle != 0 {
        percpu::raise_on(idle.trailing_zeros() as usize, Work::SCHEDULE);
    }
}

/// Can a vcpu that waits go to CPU `to`? Not while a CPU has its state.
fn may_move(v: &Vcpu, to: usize) -> bool {
    // SAFETY: called for vcpus in a queue whose lock is held.
    let inner = unsafe { v.sched.inner.get() };
    v.loaded_on.load(Acquire) == NOWHERE && inner.entity.allows(to)
}

/// Gives one of those that wait for `cpu`, whose queue is `mine`, to the least loaded other CPU, if that is no less
/// even.
#[cold]
pub(super) fn push(cpu: usize, mine: &mut Queue, running: u32, now: u64) {
    let others = ONLINE.load(Relaxed) & !(1 << cpu);
    let weight_of =
        |c: &usize| CPUS.of(*c).running.load(Relaxed) as u64 + CPUS.of(*c).waiting.load(Relaxed) as u64 * 256;
    let Some(to) = bits(others).min_by_key(weight_of) else {
        return;
    };
    let Some(mut theirs) = CPUS.of(to).queue.try_lock() else {
        return;
    };
    let (from_load, to_load) = (mine.load() + running, load(to, &theirs));
    let given = mine.give_away(|key, w| worth_moving(from_load, to_load, w) && may_move(key.0, to));
    let Some(Key(v)) = given else { return };
    CPUS.of(cpu).waiting.fetch_sub(1, Relaxed);
    // SAFETY: both queues' locks are held.
    let inner = unsafe { v.sched.inner.get() };
    super::advance(to, &mut theirs, now);
    theirs.adopt(&mut inner.entity, now);
    theirs.enter(Key(v), &inner.entity);
    v.sched.cpu.store(to as u32, SeqCst);
    CPUS.of(to).waiting.fetch_add(1, Relaxed);
    drop(theirs);
    percpu::raise_on(to, Work::SCHEDULE);
}
