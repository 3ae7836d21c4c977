//! `set_timer_op`: the older form of a vcpu's one-time timer.

use super::Outcome;
use crate::domain::Vcpu;
use crate::time::timers::{self, Kind};

/// The hypercall: system time at which `VIRQ_TIMER` comes, 0 for never.
pub fn set_timer_op(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    match args[0] {
        0 => timers::cancel(cur, Kind::Singleshot),
        at => timers::set(cur, Kind::Singleshot, at),
    }
    Ok(0)
}
