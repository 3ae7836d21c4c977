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

mod affinity;
mod balance;
mod pool;
mod run;
mod runstate;
mod share;
mod show;

pub use affinity::{affinity, forget_pin, pin, set_hard_affinity, set_soft_affinity, soft_affinity, unpin};
pub use pool::{add_cpu, create_pool, destroy_pool, free_cpus, is_pool, move_domain, pool_info, pool_of, remove_cpu};
pub use run::{idle_wait, schedule};
pub use runstate::{register_runstate_area, run_state};
pub use share::{DomainSched, min_turn, set_min_turn, set_share, share};
pub use show::{Shown, show_queues};

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
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};
use spin::mutex::SpinMutexGuard;
use xen_abi::Errno;
use xen_logic::sched::{Entity, RunQueue};
use xen_logic::time::{RunState, State};

/// `held`: it waits for an event.
const BLOCKED: u32 = 1;
/// `held`: it is down (`VCPUOP_down`), or not up yet.
const DOWN: u32 = 2;
/// `held`: its domain has used up its cap.
const THROTTLED: u32 = 4;

/// Reasons of a vcpu's domain, or of a control operation, for which it does not run; bits of `held`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hold(u32);

impl Hold {
    /// The toolstack has paused its domain.
    pub const PAUSED: Hold = Hold(8);
    /// Its domain has shut down.
    pub const SHUT_DOWN: Hold = Hold(16);
    /// Its domain is being destroyed.
    pub const DYING: Hold = Hold(32);
    /// A control operation looks at it or changes it.
    pub const CONTROL: Hold = Hold(64);
}

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
    /// The CPUs it may run on, by the toolstack's wish; `Entity::affinity` is what its domain's pool leaves of that.
    wanted: AtomicU64,
    /// The CPUs it would rather run on, of those that it may.
    soft: AtomicU64,
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
            wanted: AtomicU64::new(u64::MAX),
            soft: AtomicU64::new(u64::MAX),
            unthrottle: Timer::new(),
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
    /// The one that runs, null while idle. Guarded by the queue's lock.
    runs: AtomicPtr<Vcpu>,
    /// It has nothing to run.
    idle: AtomicBool,
    /// Since when it is idle, while it is.
    idle_since: AtomicU64,
    /// How often it became idle.
    idle_turns: AtomicU64,
    /// Nanoseconds that it has been idle before.
    idle_time: AtomicU64,
}

type Queue = SpinMutexGuard<'static, RunQueue<Key>, PollMailbox>;

static CPUS: PerCpu<Cpu> = per_cpu!(Cpu {
    queue: Mutex::new(RunQueue::new()),
    waiting: AtomicU32::new(0),
    running: AtomicU32::new(0),
    runs: AtomicPtr::new(core::ptr::null_mut()),
    idle: AtomicBool::new(false),
    idle_since: AtomicU64::new(0),
    idle_turns: AtomicU64::new(0),
    idle_time: AtomicU64::new(0),
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
    // Both are counted before either can fail: [`forget`] takes both back.
    let count = CAPACITY.fetch_add(1, Relaxed) + 1;
    timers::reserve(TIMERS_PER_VCPU)?;
    for cpu in bits(smp::online_mask()) {
        CPUS.of(cpu).queue.lock().reserve(count).map_err(|_| Errno::ENOMEM)?;
    }
    let start = bits(smp::online_mask())
        .nth(v.id as usize % smp::cpu_count())
        .unwrap_or(0);
    v.sched.cpu.store(start as u32, Relaxed);
    // SAFETY: nobody else knows the vcpu yet.
    let inner = unsafe { v.sched.inner.get() };
    inner.run = RunState::new(State::Offline, time::now());
    inner.entity.set_weight(v.domain().sched.weight.load(SeqCst));
    affinity::apply(v);
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

/// Brings the clock of CPU `cpu`'s queue, which is locked, up to the vcpu that runs there.
fn advance(cpu: usize, queue: &mut Queue, now: u64) {
    // SAFETY: null, or a vcpu that runs on that CPU: it leaves only with the queue locked.
    if let Some(running) = unsafe { CPUS.of(cpu).runs.load(Relaxed).as_ref() } {
        // SAFETY: the lock of its queue is held, and the vcpu that comes in is another one.
        let inner = unsafe { running.sched.inner.get() };
        let ran = now.saturating_sub(inner.charged);
        queue.advance(inner.entity.vtime.wrapping_add(inner.entity.cost(ran)));
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
        advance(cpu, &mut queue, now);
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

/// The current vcpu lets others go first: those of this CPU, and those that share its core. (QEMU's CPUs do, too, where it
/// counts instructions: one that never pauses leaves none to the others.)
pub fn yield_now(v: &Vcpu) {
    core::hint::spin_loop();
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

/// Keeps a vcpu from running for reason `why`; it may run for a moment yet.
pub fn hold(v: &Vcpu, why: Hold) {
    v.sched.held.fetch_or(why.0, SeqCst);
    reschedule(v);
}

/// Waits until a vcpu that is held has stopped, wherever it runs; does nothing for the current one. The caller holds no
/// lock that the vcpu could want.
pub fn wait_stopped(v: &Vcpu) {
    if !core::ptr::eq(v, current()) {
        // Between the two a CPU is about to save the vcpu's registers, or has it current with them in its frame.
        let has_it = || core::ptr::eq(percpu::info_of(cpu_of(v)).current.load(SeqCst), v);
        spin_until(|| v.sched.running_on.load(SeqCst) == NOWHERE && !has_it());
    }
}

/// Ends what [`hold`] began.
pub fn let_go(v: &'static Vcpu, why: Hold) {
    let before = v.sched.held.fetch_and(!why.0, SeqCst);
    if before & why.0 != 0 && before & !why.0 == 0 {
        wake(v);
    }
}

/// Takes a vcpu that is held for good, and has stopped, out of its queue. Nothing puts it back, since [`wake`] looks at
/// what holds it with the queue locked.
pub fn remove(v: &'static Vcpu) {
    let (mut queue, cpu) = lock_queue_of(v);
    // SAFETY: the queue's lock is held.
    let inner = unsafe { v.sched.inner.get() };
    if core::mem::take(&mut inner.queued) && queue.remove(Key(v)) {
        CPUS.of(cpu).waiting.fetch_sub(1, Relaxed);
    }
}

/// `count` vcpus are no more: gives their room in the queues to others.
pub fn forget(count: usize) {
    CAPACITY.fetch_sub(count, Relaxed);
    timers::unreserve(count * TIMERS_PER_VCPU);
}

/// Does the vcpu wait for an event?
pub fn is_blocked(v: &Vcpu) -> bool {
    v.sched.held.load(SeqCst) & BLOCKED != 0
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

/// The CPUs that run vcpus.
pub fn online() -> u64 {
    ONLINE.load(Relaxed)
}

/// Nanoseconds that CPU `cpu` has been idle.
pub fn idle_time(cpu: usize) -> u64 {
    let cpu = CPUS.of(cpu);
    let before = cpu.idle_time.load(Relaxed);
    if cpu.idle.load(SeqCst) {
        before + time::now().saturating_sub(cpu.idle_since.load(Relaxed))
    } else {
        before
    }
}

/// How often CPU `cpu` has become idle.
pub fn idle_turns(cpu: usize) -> u64 {
    CPUS.of(cpu).idle_turns.load(Relaxed)
}

/// Makes an NMI due to a vcpu.
pub fn send_nmi(v: &'static Vcpu) {
    v.hot.nmi_pending.store(1, SeqCst);
    unblock(v);
    if is_running(v) {
        percpu::raise_on(cpu_of(v), Work::NMI);
    }
}
