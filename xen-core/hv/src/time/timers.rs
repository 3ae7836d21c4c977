//! Deadlines: a queue for each CPU, and the local APIC's timer set to the earliest.
//!
//! A timer stays on the CPU that armed it. The APIC is set only when something earlier comes: a deadline that is
//! cancelled or put off costs an interrupt at most, and saves a register write nearly always.

use super::clock;
use crate::arch::x86::percpu::{self, Work, cpu_id};
use crate::arch::x86::{apic, mailbox::bits, smp};
use crate::domain::{self, Vcpu};
use crate::per_cpu;
use crate::sync::{Mutex, PerCpu, PollMailbox};
use crate::{event, sched, trace};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use core::sync::atomic::{AtomicU64, AtomicUsize};
use spin::RelaxStrategy;
use spin::mutex::SpinMutexGuard;
use xen_abi::{Errno, SHUTDOWN_watchdog, VIRQ_TIMER};
use xen_logic::timer::{Deadlines, Slot};

/// What a timer is for.
#[derive(Clone, Copy)]
pub enum Kind {
    /// A guest's one-time timer.
    Singleshot,
    /// A guest's periodic timer.
    Periodic,
    /// The end of a poll.
    Poll,
    /// The domain's cap has something left again.
    Unthrottle,
    /// The domain's watchdog of this number.
    Watchdog(u8),
}

#[derive(Clone, Copy)]
struct Key {
    vcpu: &'static Vcpu,
    kind: Kind,
}

struct Queue {
    deadlines: Mutex<Deadlines<Key>>,
    /// When the running vcpu's turn ends. Used by its own CPU only.
    turn_end: AtomicU64,
    /// What the APIC is set to. Used by its own CPU only.
    programmed: AtomicU64,
}

type Locked<'a> = SpinMutexGuard<'a, Deadlines<Key>, PollMailbox>;

static QUEUES: PerCpu<Queue> = per_cpu!(Queue {
    deadlines: Mutex::new(Deadlines::new()),
    turn_end: AtomicU64::new(u64::MAX),
    programmed: AtomicU64::new(u64::MAX),
});

/// A timer. It belongs to a vcpu or domain, which stops it before it goes.
pub struct Timer(AtomicU64);

const IDLE: u64 = u64::MAX;
/// A CPU is arming it.
const BUSY: u64 = u64::MAX - 1;

impl Timer {
    /// Not armed.
    pub const fn new() -> Self {
        Timer(AtomicU64::new(IDLE))
    }

    /// The CPU it is armed on, and its slot there. Stable while that CPU's queue is locked.
    #[inline]
    fn place(&self) -> Option<(usize, Slot)> {
        loop {
            match self.0.load(Acquire) {
                IDLE => return None,
                // Whoever arms it holds a queue's lock and waits for nothing.
                BUSY => PollMailbox::relax(),
                word => return Some(((word >> 32) as usize, Slot::from_raw(word as u32))),
            }
        }
    }

    /// Takes the right to arm it, so that two CPUs cannot both do it.
    #[inline]
    fn claim(&self) -> bool {
        self.0.compare_exchange(IDLE, BUSY, Acquire, Relaxed).is_ok()
    }
}

/// How many timers there can be, for which every queue has room.
static CAPACITY: AtomicUsize = AtomicUsize::new(0);

/// Makes room in every CPU's queue for `more` timers.
///
/// # Errors
/// `ENOMEM`.
pub fn reserve(more: usize) -> Result<(), Errno> {
    let count = CAPACITY.fetch_add(more, Relaxed) + more;
    for cpu in bits(smp::online_mask()) {
        QUEUES
            .of(cpu)
            .deadlines
            .lock()
            .reserve(count)
            .map_err(|_| Errno::ENOMEM)?;
    }
    Ok(())
}

/// The timer of `v` for `kind`.
fn timer_of(v: &'static Vcpu, kind: Kind) -> &'static Timer {
    match kind {
        Kind::Singleshot => &v.time.singleshot,
        Kind::Periodic => &v.time.periodic,
        Kind::Poll => &v.time.poll,
        Kind::Unthrottle => &v.sched.unthrottle,
        Kind::Watchdog(n) => &v.domain().time.watchdogs[n as usize % super::WATCHDOGS],
    }
}

/// Arms `v`'s timer for `kind` at `at` (nanoseconds since boot), or moves it there.
pub fn set(v: &'static Vcpu, kind: Kind, at: u64) {
    trace::record(trace::Kind::TimerSet, at, 0);
    let timer = timer_of(v, kind);
    let cpu = cpu_id();
    let queue = QUEUES.of(cpu);
    let mut deadlines = queue.deadlines.lock();
    loop {
        match timer.place() {
            None if timer.claim() => {
                let slot = deadlines.insert(at, Key { vcpu: v, kind });
                timer.0.store((cpu as u64) << 32 | slot.to_raw() as u64, Release);
                break;
            }
            None => {}
            Some((on, slot)) if on == cpu => {
                deadlines.update(slot, at);
                break;
            }
            Some(_) => {
                drop(deadlines);
                stop(timer);
                deadlines = queue.deadlines.lock();
            }
        }
    }
    program(queue, &deadlines);
}

/// Disarms a timer.
pub fn cancel(v: &'static Vcpu, kind: Kind) {
    stop(timer_of(v, kind));
}

/// Disarms all timers of a vcpu that does not run any more, and those of its domain if it is the first. One that a CPU
/// has just let expire may be set anew by that CPU, but not once more.
pub fn stop_all(v: &'static Vcpu) {
    v.time.period.store(0, SeqCst);
    for kind in [Kind::Singleshot, Kind::Periodic, Kind::Poll, Kind::Unthrottle] {
        cancel(v, kind);
    }
    if v.id == 0 {
        (0..super::WATCHDOGS).for_each(|n| cancel(v, Kind::Watchdog(n as u8)));
    }
}

/// `fewer` of the timers that room was made for are no more.
pub fn unreserve(fewer: usize) {
    CAPACITY.fetch_sub(fewer, Relaxed);
}

fn stop(timer: &Timer) {
    while let Some((cpu, _)) = timer.place() {
        let mut deadlines = QUEUES.of(cpu).deadlines.lock();
        // It may have expired, or moved, before the lock was there.
        if let Some((on, slot)) = timer.place()
            && on == cpu
        {
            deadlines.remove(slot);
            timer.0.store(IDLE, Release);
        }
    }
}

/// Sets when the vcpu that this CPU runs must be looked at again; `u64::MAX` for never.
#[inline]
pub fn set_turn_end(at: u64) {
    let queue = QUEUES.this();
    queue.turn_end.store(at, Relaxed);
    if at < queue.programmed.load(Relaxed) {
        program(queue, &queue.deadlines.lock());
    }
}

/// Sets this CPU's APIC timer, if something is due before what it is set to.
#[inline]
fn program(queue: &Queue, deadlines: &Locked) {
    let next = deadlines.next().unwrap_or(u64::MAX).min(queue.turn_end.load(Relaxed));
    if next < queue.programmed.load(Relaxed) {
        queue.programmed.store(next, Relaxed);
        apic::set_deadline_ns(next);
    }
}

/// The APIC timer has gone off: lets everything that is due happen, and sets it anew.
pub fn run_expired() {
    let queue = QUEUES.this();
    queue.programmed.store(u64::MAX, Relaxed);
    let now = clock::now();
    trace::record(trace::Kind::TimerFire, now, 0);
    if queue.turn_end.load(Relaxed) <= now {
        queue.turn_end.store(u64::MAX, Relaxed);
        percpu::raise(Work::SCHEDULE);
    }
    let mut deadlines = queue.deadlines.lock();
    while let Some((at, key)) = deadlines.pop_expired(now) {
        timer_of(key.vcpu, key.kind).0.store(IDLE, Release);
        drop(deadlines);
        fire(key, at, now);
        deadlines = queue.deadlines.lock();
    }
    program(queue, &deadlines);
}

fn fire(key: Key, at: u64, now: u64) {
    let v = key.vcpu;
    match key.kind {
        Kind::Singleshot => event::send_virq(v, VIRQ_TIMER),
        Kind::Periodic => {
            let period = v.time.period.load(SeqCst);
            if period != 0 {
                // What was missed is not made up for.
                set(v, Kind::Periodic, at.saturating_add(period).max(now));
                event::send_virq(v, VIRQ_TIMER);
            }
        }
        Kind::Poll => sched::end_poll(v),
        Kind::Unthrottle => sched::unthrottle(v),
        Kind::Watchdog(n) => {
            log::error!("domain {}: watchdog {} has expired", v.domain().id, n + 1);
            domain::shutdown(v.domain(), SHUTDOWN_watchdog);
        }
    }
}
