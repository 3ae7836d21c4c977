//! Choosing the vcpu that a CPU runs, and waiting when there is none.

use super::{CPUS, Inner, Key, NOWHERE, Queue, THROTTLED, balance, idle_vcpu, runstate, wake};
use crate::arch::x86::cpu;
use crate::arch::x86::percpu::{self, Work, cpu_id, current};
use crate::domain::{Vcpu, context};
use crate::time::timers::{self, Kind};
use crate::time::{self, pvclock};
use crate::trace;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use xen_logic::sched::{LONE_SLICE, Preempt, SLICE};
use xen_logic::time::State;

/// What becomes of the vcpu that has had the CPU.
enum Left {
    /// It goes on until then.
    Stays(u64),
    /// It waits, in this CPU's queue or not at all.
    Waits,
    /// It could go on, but not here.
    Elsewhere,
}

/// Chooses the vcpu that this CPU runs from now on. Called on the way out, with interrupts off, on the CPU's main
/// stack; vcpus have no stack of their own here, so it returns to where it was called, for another vcpu.
pub fn schedule() {
    trace::count(trace::Counter::Schedules);
    let cpu = cpu_id();
    let prev = current();
    let now = time::now();
    let mut queue = CPUS.of(cpu).queue.lock();
    let mut elsewhere = false;
    if !prev.is_idle() {
        match leave(prev, cpu, &mut queue, now) {
            Left::Stays(until) => {
                drop(queue);
                timers::set_turn_end(until);
                return share(cpu);
            }
            Left::Waits => {}
            Left::Elsewhere => elsewhere = true,
        }
    }
    let (next, until) = choose(cpu, &mut queue, now);
    if !core::ptr::eq(prev, next) {
        if !prev.is_idle() {
            // SAFETY: the lock of its queue is held.
            runstate::show(prev, unsafe { prev.sched.inner.get() });
        }
        drop(queue);
        switch(prev, next, cpu);
    } else {
        drop(queue);
    }
    timers::set_turn_end(until);
    if elsewhere {
        wake(prev);
    }
    share(cpu);
}

/// What this CPU leaves waiting, an idle one could run. Called when the state of all those that wait has been saved.
#[inline]
fn share(cpu: usize) {
    if CPUS.of(cpu).waiting.load(Relaxed) != 0 {
        balance::call_idle(cpu);
    }
}

/// Accounts for what `prev` has run, and decides whether it goes on.
fn leave(prev: &'static Vcpu, cpu: usize, queue: &mut Queue, now: u64) -> Left {
    // SAFETY: the lock of its queue is held.
    let inner = unsafe { prev.sched.inner.get() };
    charge(prev, inner, now);
    let held = prev.sched.held.load(SeqCst);
    // Only the vcpu itself sets it, and it is current here.
    let yields = prev.sched.yields.load(Relaxed);
    if yields {
        prev.sched.yields.store(false, Relaxed);
    }
    let here = inner.entity.allows(cpu);
    if held == 0 && here {
        let allowance = allowance(prev, now);
        if allowance != 0 {
            if queue.push_due(now) {
                balance::push(cpu, queue, inner.entity.weight(), now);
            }
            match queue.preempt(&inner.entity, now.saturating_sub(inner.turn)) {
                None => return Left::Stays(now.saturating_add(allowance)),
                Some(Preempt::After(ns)) if !yields => return Left::Stays(now.saturating_add(ns.min(allowance))),
                _ => {}
            }
            return give_up_cpu(prev, inner, cpu, queue, now, yields);
        }
    }
    prev.sched.running_on.store(NOWHERE, SeqCst);
    // `allowance` may have set a bit of it.
    let state = match prev.sched.held.load(SeqCst) {
        super::BLOCKED => State::Blocked,
        0 | THROTTLED => State::Runnable,
        held if held & super::BLOCKED != 0 && held & super::DOWN == 0 => State::Blocked,
        _ => State::Offline,
    };
    inner.run.enter(state, now);
    if held == 0 && !here {
        Left::Elsewhere
    } else {
        Left::Waits
    }
}

/// Puts `prev`, whose turn is over, back into the queue, behind the next one.
fn give_up_cpu(prev: &'static Vcpu, inner: &mut Inner, cpu: usize, queue: &mut Queue, now: u64, yields: bool) -> Left {
    if yields {
        queue.let_go_first(&mut inner.entity);
    }
    prev.sched.running_on.store(NOWHERE, SeqCst);
    inner.run.enter(State::Runnable, now);
    inner.queued = true;
    queue.enter(Key(prev), &inner.entity);
    CPUS.of(cpu).waiting.fetch_add(1, Relaxed);
    Left::Waits
}

/// Charges the time since the last charge to the vcpu and to its domain's cap.
fn charge(v: &Vcpu, inner: &mut Inner, now: u64) {
    let ran = now.saturating_sub(inner.charged);
    inner.charged = now;
    inner.entity.charge(ran);
    let share = &v.domain().sched;
    if share.capped.load(Relaxed) {
        share.budget.lock().charge(ran, now);
    }
}

/// How long the vcpu may go on at most; 0 where it must wait, for which a timer is then set.
#[inline]
fn allowance(v: &'static Vcpu, now: u64) -> u64 {
    let share = &v.domain().sched;
    if !share.capped.load(Relaxed) {
        return LONE_SLICE;
    }
    let allowed = share.budget.lock().allowance(now);
    match allowed {
        Ok(ns) => ns.min(SLICE),
        Err(until) => {
            v.sched.held.fetch_or(THROTTLED, SeqCst);
            timers::set(v, Kind::Unthrottle, until);
            0
        }
    }
}

/// The next vcpu for this CPU, which now runs as far as accounts go, and the end of its turn.
fn choose(cpu: usize, queue: &mut Queue, now: u64) -> (&'static Vcpu, u64) {
    let mine = CPUS.of(cpu);
    loop {
        let next = match queue.take_next() {
            Some(Key(v)) => {
                mine.waiting.fetch_sub(1, Relaxed);
                // SAFETY: the lock of its queue is held.
                unsafe { v.sched.inner.get() }.queued = false;
                v
            }
            None => match balance::steal(cpu, queue, now) {
                Some(v) => v,
                None => {
                    mine.running.store(0, Relaxed);
                    mine.runs.store(core::ptr::null_mut(), Relaxed);
                    if !mine.idle.load(Relaxed) {
                        mine.idle_since.store(now, Relaxed);
                        mine.idle_turns.fetch_add(1, Relaxed);
                        mine.idle.store(true, SeqCst);
                    }
                    return (idle_vcpu(cpu), u64::MAX);
                }
            },
        };
        // SAFETY: the lock of its queue is held: it is this CPU's now.
        let inner = unsafe { next.sched.inner.get() };
        let allowance = allowance(next, now);
        // It may have been paused while it waited; whoever ends that wakes it.
        if next.sched.held.load(SeqCst) != 0 {
            let state = if allowance == 0 {
                State::Runnable
            } else {
                State::Offline
            };
            inner.run.enter(state, now);
            continue;
        }
        let waited = inner.run.enter(State::Running, now);
        trace::record(
            trace::Kind::Run,
            (next.domain().id as u64) << 16 | next.id as u64,
            waited,
        );
        (inner.charged, inner.turn) = (now, now);
        next.sched.running_on.store(cpu as u32, SeqCst);
        mine.running.store(inner.entity.weight(), Relaxed);
        mine.runs.store(core::ptr::from_ref(next).cast_mut(), Relaxed);
        if mine.idle.load(Relaxed) {
            mine.idle.store(false, Relaxed);
            let idle = now.saturating_sub(mine.idle_since.load(Relaxed));
            mine.idle_time.fetch_add(idle, Relaxed);
        }
        let turn = if queue.is_empty() { LONE_SLICE } else { SLICE };
        return (next, now.saturating_add(turn.min(allowance)));
    }
}

/// Gives this CPU to `next`.
fn switch(prev: &'static Vcpu, next: &'static Vcpu, cpu: usize) {
    let id = |v: &Vcpu| (v.domain().id as u64) << 16 | v.id as u64;
    trace::count(trace::Counter::Switches);
    trace::record(trace::Kind::Switch, id(prev), id(next));
    context::switch_to(next);
    if !next.is_idle() {
        if next.hot.nmi_pending.load(Relaxed) != 0 {
            percpu::raise(Work::NMI);
        }
        pvclock::refresh(next, cpu);
        // SAFETY: it runs here, so only this CPU changes its run state.
        runstate::show(next, unsafe { next.sched.inner.get() });
    }
}

/// Waits for work with interrupts on: the only place, with the preemption points, where they are.
pub fn idle_wait() {
    if percpu::info().work.load(SeqCst) != 0 {
        return;
    }
    trace::record(trace::Kind::Idle, 0, 0);
    while percpu::info().work.load(SeqCst) == 0 {
        // SAFETY: no lock is held and nothing is half done.
        unsafe { cpu::wait_for_interrupt() };
    }
    trace::record(trace::Kind::IdleEnd, 0, 0);
}
