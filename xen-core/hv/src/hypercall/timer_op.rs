//! `set_timer_op`: the older form of a vcpu's one-time timer.

use super::Outcome;
use crate::domain::Vcpu;
use crate::time;
use crate::time::timers::{self, Kind};

/// A time further ahead than this, or before all time, is a guest's mistake.
const FAR: u64 = 1 << 50;
/// So soon it is then, in nanoseconds: old kernels hang where the event never comes.
const SOON: u64 = 100_000_000;

/// The hypercall: system time at which `VIRQ_TIMER` comes, 0 for never.
pub fn set_timer_op(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    match args[0] {
        0 => timers::cancel(cur, Kind::Singleshot),
        at if at > time::now().saturating_add(FAR) => {
            timers::set(cur, Kind::Singleshot, time::now() + SOON);
        }
        at => timers::set(cur, Kind::Singleshot, at),
    }
    Ok(0)
}
