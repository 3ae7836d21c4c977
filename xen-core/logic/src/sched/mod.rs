//! The scheduler's policy: weighted fair sharing by virtual time.
//!
//! Each CPU has a queue of vcpus that wait for it, ordered by virtual time: what a vcpu has run, divided by its
//! weight. The least runs next. A vcpu that wakes is placed a little before the queue's clock, so that it runs soon
//! and cannot hoard. An idle CPU takes from others what waits there. A CPU where some wait gives one away, at most once
//! a [`PUSH_INTERVAL`], to one that is then loaded no more than it was itself: that is how three vcpus share two CPUs,
//! while a CPU whose only vcpu nobody envies is never disturbed. Virtual time is not translated from queue to queue, so
//! who has had a CPU to himself waits when others join; how far a newcomer may be ahead or behind is bounded.

mod budget;
mod entity;
mod placement;
mod queue;

#[cfg(all(test, not(loom)))]
mod sim_tests;

pub use budget::Budget;
pub use entity::Entity;
pub use placement::choose_cpu;
pub use queue::{Preempt, RunQueue, worth_moving};

/// Longest turn, in nanoseconds, while another vcpu waits.
pub const SLICE: u64 = 5_000_000;
/// Longest turn of a vcpu that is alone, in nanoseconds. It only goes on then; but timers stay on the CPU that armed
/// them, so that without this a busy CPU might take no interrupt at all. Credit2's longest turn, too.
pub const LONE_SLICE: u64 = 10_000_000;
/// Shortest turn before a vcpu that wakes may take the CPU.
pub const MIN_TURN: u64 = 500_000;
/// How far before the queue's clock a vcpu that wakes is placed, in virtual nanoseconds.
pub const WAKE_CREDIT: u64 = 4_000_000;
/// Least time between two gifts by a busy CPU.
pub const PUSH_INTERVAL: u64 = 10_000_000;
/// How far from the clock of its new queue a vcpu that moves may be, in virtual nanoseconds.
pub const MOVE_LAG: u64 = 25_000_000;

/// Weight of a domain that has been given none; virtual time runs at the rate of real time for it.
pub const DEFAULT_WEIGHT: u32 = 256;
/// Largest weight.
pub const MAX_WEIGHT: u32 = 65535;
