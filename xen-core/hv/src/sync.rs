//! Locks for a hypervisor that runs with interrupts off, and per-CPU storage.

use crate::arch::x86::percpu;
use crate::mm::layout::NR_CPUS;

/// What every waiting loop does: serve this CPU's request mailbox, then rest.
///
/// Two CPUs that wait for each other with interrupts off would otherwise wait for ever (ARCHITECTURE, 5).
pub struct PollMailbox;

impl spin::RelaxStrategy for PollMailbox {
    #[inline]
    fn relax() {
        crate::arch::x86::mailbox::poll();
        core::hint::spin_loop();
    }
}

/// A spin lock whose waiters serve their mailbox.
pub type Mutex<T> = spin::mutex::SpinMutex<T, PollMailbox>;
/// A reader-writer spin lock whose waiters serve their mailbox.
pub type RwLock<T> = spin::rwlock::RwLock<T, PollMailbox>;
/// A cell that is written once.
pub type Once<T> = spin::once::Once<T, PollMailbox>;

/// Spins until `done` holds, serving the mailbox meanwhile.
#[inline]
pub fn spin_until(mut done: impl FnMut() -> bool) {
    use spin::RelaxStrategy;
    while !done() {
        PollMailbox::relax();
    }
}

/// One `T` for each CPU, each on its own cache line. Shared state: `T` is atomic or behind a lock.
pub struct PerCpu<T>(pub [Line<T>; NR_CPUS]);

/// One CPU's value in a [`PerCpu`].
#[repr(align(64))]
pub struct Line<T>(pub T);

/// Builds a [`PerCpu`] from a constant initial value: `static X: PerCpu<AtomicU64> = per_cpu!(AtomicU64::new(0));`.
#[macro_export]
macro_rules! per_cpu {
    ($init:expr) => {
        $crate::sync::PerCpu([const { $crate::sync::Line($init) }; $crate::mm::layout::NR_CPUS])
    };
}

impl<T> PerCpu<T> {
    /// The value of the CPU that executes this.
    #[inline]
    pub fn this(&self) -> &T {
        // NR_CPUS is a power of two: the remainder is cheaper than the check it replaces.
        &self.0[percpu::cpu_id() % NR_CPUS].0
    }

    /// The value of CPU `cpu`, which is below `NR_CPUS`.
    #[inline]
    pub fn of(&self, cpu: usize) -> &T {
        &self.0[cpu].0
    }
}
