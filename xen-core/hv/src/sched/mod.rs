//! Scheduling vcpus on CPUs; the policy is `xen_logic::sched`.
//!
//! A vcpu belongs to the queue of one CPU, whose lock guards its [`Inner`]; one that runs belongs to the queue of the
//! CPU that runs it. A vcpu whose state a CPU still holds (`Vcpu::loaded_on`) is queued only there, so that no CPU ever
//! waits for another's: an idle CPU keeps its last vcpu's state, and gets that vcpu back.
//!
//! Why a vcpu may not run stands in one word, `held`: zero means that it may. Whoever makes it zero calls [`wake`];
//! whoever makes it non-zero raises `Work::SCHEDULE` where the vcpu runs.
//!
//! A queue's lock is taken with ports' and timers' locks held or not, and no lock but those is taken inside; a second
//! queue is only tried.

mod balance;
mod run;
mod runstate;

pub use run::{idle_wait, schedule};
pub use runstate::{register_runstate_area, run_state};

use crate::arch::x86::percpu::{self, Work, cpu_id, current};
use crate::arch::x86::{entry, mailbox::bits, smp};
use crate::domain::{self, Domain, Vcpu};
use crate::per_cpu;
use crate::sync::{Mutex, Once, PerCpu, PollMailbox, spin_until};
use crate::time::timers::{self, Timer};
use crate::{event, time, trace};
use alloc::sync::Arc;
use core::cell::UnsafeCell;
use core::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};
use spin::mutex::SpinMutexGuard;
use xen_abi::Errno;
use xen_logic::sched::{Budget, Entity, RunQueue};
use xen_logic::time::{RunState, State};

/// `held`: it waits for an event.
const BLOCKED: u32 = 1;
/// `held`: it is down (`VCPUOP_down`), or not up yet.
const DOWN: u32 = 2;
/// `held`: its domain has used up its cap.
const THROTTLED: u32 = 4;
/// `held`: pauses are counted from here on.
const PAUSE: u32 = 1 << 8;

/// No CPU.
const NOWHERE: u32 = u32::MAX;

/// Timers that a vcpu can have, its share of the domain's included.
const TIMERS_PER_VCPU: usize = 5;

/// A vcpu's part.
pub struct VcpuSched {
    /// Why it may not run.
    held: AtomicU32,
    /// The CPU whose queue it belongs to.
    cpu: AtomicU32,
    /// The CPU that runs it.
    running_on: AtomicU32,
    /// It has asked to let others go first.
    yields: AtomicBool,
    inner: Guarded,
    /// Somebody gives it its first context.
    pub being_set_up: AtomicBool,
    /// Its affinity from before it was pinned, 0 while it is not.
    unpinned: AtomicU64,
    /// When its domain may run again.
    pub unthrottle: Timer,
}

/// What the lock of its queue guards.
struct Inner {
    entity: Entity,
    /// It stands in the queue.
    queued: bool,
    run: RunState,
    /// Up to when its running time is accounted for.
    charged: u64,
    /// When its turn began.
    turn: u64,
}

struct Guarded(UnsafeCell<Inner>);

// SAFETY: only used with the queue's lock held.
unsafe impl Sync for Guarded {}

impl Guarded {
    /// # Safety
    /// The lock of the vcpu's queue is held, and no other reference to this is alive.
    #[inline]
    #[allow(clippy::mut_from_ref)]
    unsafe fn get(&self) -> &mut Inner {
        // SAFETY: the caller vouches for exclusive access.
        unsafe { &mut *self.0.get() }
    }
}

impl VcpuSched {
    /// Down, and belonging to the first CPU.
    pub const fn new() -> Self {
        VcpuSched {
            held: AtomicU32::new(DOWN),
            cpu: AtomicU32::new(0),
            running_on: AtomicU32::new(NOWHERE),
            yields: AtomicBool::new(false),
            inner: Guarded(UnsafeCell::new(Inner {
                entity: Entity::new(),
                queued: false,
                run: RunState::new(State::Offline, 0),
                charged: 0,
                turn: 0,
            })),
            being_set_up: AtomicBool::new(false),
            unpinned: AtomicU64::new(0),
            unthrottle: Timer::new(),
        }
    }
}

/// A domain's part: its cap.
pub struct DomainSched {
    /// There is one.
    capped: AtomicBool,
    budget: Mutex<Budget>,
}

impl DomainSched {
    /// No cap.
    pub const fn new() -> Self {
        DomainSched {
            capped: AtomicBool::new(false),
            budget: Mutex::new(Budget::unlimited()),
        }
    }
}

/// A vcpu in a queue.
#[derive(Clone, Copy)]
struct Key(&'static Vcpu);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        core::ptr::eq(self.0, other.0)
    }
}

/// A CPU's part.
struct Cpu {
    queue: Mutex<RunQueue<Key>>,
    /// How many wait, for others to see without the lock.
    waiting: AtomicU32,
    /// The weight of the one that runs, 0 while idle.
    running: AtomicU32,
    /// It has nothing to run.
    idle: AtomicBool,
}

type Queue = SpinMutexGuard<'static, RunQueue<Key>, PollMailbox>;

static CPUS: PerCpu<Cpu> = per_cpu!(Cpu {
    queue: Mutex::new(RunQueue::new()),
    waiting: AtomicU32::new(0),
    running: AtomicU32::new(0),
    idle: AtomicBool::new(false),
});

/// CPUs that schedule.
static ONLINE: AtomicU64 = AtomicU64::new(0);
/// How many vcpus every queue has room for.
static CAPACITY: AtomicUsize = AtomicUsize::new(0);
/// The domain of the idle vcpus.
static IDLE: Once<Arc<Domain>> = Once::new();

/// Makes an idle vcpu for each of `cpus` CPUs, and the boot CPU's current. Boot calls it when there is a heap, before
/// other CPUs start.
pub fn init(cpus: usize) {
    let idle = domain::create_idle(cpus as u32).expect("boot has memory for the idle vcpus");
    IDLE.call_once(|| idle);
    take_idle(cpu_id());
}

/// Makes the idle vcpu of this CPU, `cpu`, current.
fn take_idle(cpu: usize) {
    percpu::info()
        .current
        .store(core::ptr::from_ref(idle_vcpu(cpu)).cast_mut(), SeqCst);
}

/// The end of a CPU's start: from here on vcpus run on it, and it waits where there is none.
pub fn start_cpu() -> ! {
    let cpu = cpu_id();
    take_idle(cpu);
    CPUS.of(cpu).idle.store(true, SeqCst);
    ONLINE.fetch_or(1 << cpu, SeqCst);
    percpu::raise(Work::SCHEDULE);
    entry::paravane_enter_guest()
}

/// CPU `cpu`'s idle vcpu.
pub fn idle_vcpu(cpu: usize) -> &'static Vcpu {
    let idle = IDLE.get().and_then(|d| d.vcpu(cpu as u32));
    idle.expect("boot makes an idle vcpu for each CPU")
}

/// Makes room for a new vcpu, and gives it a CPU to start on. It is down.
///
/// # Errors
/// `ENOMEM`.
pub fn insert_vcpu(v: &'static Vcpu) -> Result<(), Errno> {
    if v.is_idle() {
        return Ok(());
    }
    let count = CAPACITY.fetch_add(1, Relaxed) + 1;
    for cpu in bits(smp::online_mask()) {
        CPUS.of(cpu).queue.lock().reserve(count).map_err(|_| Errno::ENOMEM)?;
    }
    timers::reserve(TIMERS_PER_VCPU)?;
    let start = bits(smp::online_mask())
        .nth(v.id as usize % smp::cpu_count())
        .unwrap_or(0);
    v.sched.cpu.store(start as u32, Relaxed);
    // SAFETY: nobody else knows the vcpu yet.
    unsafe { v.sched.inner.get() }.run = RunState::new(State::Offline, time::now());
    Ok(())
}

/// Locks the queue that `v` belongs to.
#[inline]
fn lock_queue_of(v: &Vcpu) -> (Queue, usize) {
    loop {
        let cpu = v.sched.cpu.load(Acquire) as usize;
        let queue = CPUS.of(cpu).queue.lock();
        if v.sched.cpu.load(Relaxed) as usize == cpu {
            return (queue, cpu);
        }
    }
}

/// Lets a vcpu run that nothing holds any more. Does nothing for one that runs, waits for a CPU, or is held.
pub fn wake(v: &'static Vcpu) {
    let (mut target, mut moves) = (None, false);
    loop {
        let (mut queue, cpu) = lock_queue_of(v);
        // SAFETY: the queue's lock is held.
        let inner = unsafe { v.sched.inner.get() };
        if v.sched.held.load(SeqCst) != 0 || inner.queued || v.sched.running_on.load(Relaxed) != NOWHERE {
            return;
        }
        let to = *target.get_or_insert_with(|| balance::place(v, inner, cpu));
        if to != cpu {
            // It changes queues: look at everything again under the lock of the new one.
            v.sched.cpu.store(to as u32, SeqCst);
            moves = true;
            continue;
        }
        let now = time::now();
        if moves {
            queue.adopt(&mut inner.entity, now);
        }
        trace::count(trace::Counter::Wakes);
        trace::record(trace::Kind::Wake, (v.domain().id as u64) << 16 | v.id as u64, 0);
        inner.run.enter(State::Runnable, now);
        inner.queued = true;
        queue.enter_woken(Key(v), &mut inner.entity);
        CPUS.of(cpu).waiting.fetch_add(1, Relaxed);
        drop(queue);
        percpu::raise_on(cpu, Work::SCHEDULE);
        return;
    }
}

/// The current vcpu waits for an event; it goes on at once if one is pending already.
#[inline]
pub fn block(v: &'static Vcpu) {
    v.sched.held.fetch_or(BLOCKED, SeqCst);
    if event::has_pending(v) {
        v.sched.held.fetch_and(!BLOCKED, SeqCst);
    } else {
        trace::record(trace::Kind::Block, (v.domain().id as u64) << 16 | v.id as u64, 0);
        percpu::raise(Work::SCHEDULE);
    }
}

/// Ends a vcpu's wait for an event, or its poll; true where it was waiting.
pub fn unblock(v: &'static Vcpu) -> bool {
    let waited = v.sched.held.fetch_and(!BLOCKED, SeqCst) & BLOCKED != 0;
    if waited {
        event::poll_end(v);
        wake(v);
    }
    waited
}

/// Wakes a vcpu that waits for an event; one that runs on another CPU is made to look.
#[inline]
pub fn unblock_or_kick(v: &'static Vcpu) {
    if v.sched.held.load(SeqCst) & BLOCKED != 0 && unblock(v) {
        return;
    }
    let on = v.sched.running_on.load(SeqCst);
    if on != NOWHERE && on as usize != cpu_id() {
        percpu::raise_on(on as usize, Work::EVENT);
    }
}

/// The current vcpu waits for one of the ports it polls; the caller looks at them after this, and calls [`unblock`]
/// if one is pending.
pub fn block_polling(v: &'static Vcpu, port: u32) {
    event::poll_start(v, port);
    v.sched.held.fetch_or(BLOCKED, SeqCst);
    percpu::raise(Work::SCHEDULE);
}

/// A poll's timeout has come.
pub fn end_poll(v: &'static Vcpu) {
    if event::is_polling(v) {
        unblock(v);
    }
}

/// The current vcpu lets others go first.
pub fn yield_now(v: &Vcpu) {
    v.sched.yields.store(true, Relaxed);
    percpu::raise(Work::SCHEDULE);
}

/// Makes the CPU that runs `v`, if one does, choose anew.
fn reschedule(v: &Vcpu) {
    let on = v.sched.running_on.load(SeqCst);
    if on != NOWHERE {
        percpu::raise_on(on as usize, Work::SCHEDULE);
    }
}

/// Keeps a vcpu from running until [`unpause`]; it may run for a moment yet.
pub fn pause(v: &Vcpu) {
    v.sched.held.fetch_add(PAUSE, SeqCst);
    reschedule(v);
}

/// As [`pause`], for another vcpu than the current one, and waits until it has stopped.
#[expect(dead_code, reason = "for domctl, which is to come")]
pub fn pause_and_wait(v: &Vcpu) {
    pause(v);
    if !core::ptr::eq(v, current()) {
        // A CPU names its next vcpu only after it has saved the registers of this one.
        let has_it = || core::ptr::eq(percpu::info_of(cpu_of(v)).current.load(SeqCst), v);
        spin_until(|| v.sched.running_on.load(SeqCst) == NOWHERE && !has_it());
    }
}

/// Ends one [`pause`].
#[expect(dead_code, reason = "for domctl, which is to come")]
pub fn unpause(v: &'static Vcpu) {
    if v.sched.held.fetch_sub(PAUSE, SeqCst) == PAUSE {
        wake(v);
    }
}

/// Lets a vcpu that has its context run (`VCPUOP_up`).
pub fn up(v: &'static Vcpu) {
    if v.sched.held.fetch_and(!DOWN, SeqCst) & DOWN != 0 {
        wake(v);
    }
}

/// Takes a vcpu down (`VCPUOP_down`).
pub fn down(v: &Vcpu) {
    v.sched.held.fetch_or(DOWN, SeqCst);
    reschedule(v);
}

/// Is the vcpu down?
pub fn is_down(v: &Vcpu) -> bool {
    v.sched.held.load(SeqCst) & DOWN != 0
}

/// Is the vcpu on a CPU?
pub fn is_running(v: &Vcpu) -> bool {
    v.sched.running_on.load(SeqCst) != NOWHERE
}

/// The CPU that the vcpu runs on, or will run on next.
pub fn cpu_of(v: &Vcpu) -> usize {
    v.sched.cpu.load(Relaxed) as usize
}

/// The domain's cap has something left again.
pub fn unthrottle(v: &'static Vcpu) {
    if v.sched.held.fetch_and(!THROTTLED, SeqCst) & THROTTLED != 0 {
        wake(v);
    }
}

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

/// Sets the weight of a domain's vcpus, and the domain's cap in percent of one CPU (0 for none).
#[expect(dead_code, reason = "for domctl, which is to come")]
pub fn set_share(domain: &Domain, weight: u32, cap: u32) {
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
    *domain.sched.budget.lock() = Budget::new(cap, time::now());
    domain.sched.capped.store(cap != 0, SeqCst);
}
