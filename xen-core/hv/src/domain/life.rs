//! How far a domain is in its life, and what keeps its vcpus from running as a whole.
//!
//! A domain is alive, then dying (the toolstack has asked for its end, and everything is taken from it step by step),
//! then dead (it holds nothing itself, but others may still hold frames of it), then gone from the list. It never goes
//! back. What holds its vcpus stands in their scheduler words ([`Hold`]); changes by the toolstack come one at a time,
//! under the lock of `domctl`.

use super::{Domain, Vcpu};
use crate::sched::{self, Hold};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::SeqCst};
use xen_abi::Errno;

/// The stages of a life, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Stage {
    /// It may run.
    Alive,
    /// It is being taken apart.
    Dying,
    /// It holds nothing any more; frames of it may be in others' hands.
    Dead,
    /// It is not listed any more.
    Gone,
}

/// Most pauses that are counted.
const MAX_PAUSES: u32 = 255;

/// A domain's part.
pub struct Life {
    stage: AtomicU8,
    /// How often the toolstack has paused it and not unpaused it.
    pauses: AtomicU32,
    /// Its vcpus have stopped for its shutdown.
    shut_down: AtomicBool,
    /// The step that its destruction is at; see [`super::destroy`].
    pub(super) step: AtomicU32,
    /// What its destruction waits for: the number of a [`super::quiesce::Grace`].
    pub(super) grace: AtomicU64,
    /// The port that hears of its suspension instead of the toolstack (`XEN_DOMCTL_subscribe`), 0 for none.
    pub suspend_port: AtomicU32,
}

impl Life {
    /// Alive and running.
    pub const fn new() -> Self {
        Self {
            stage: AtomicU8::new(Stage::Alive as u8),
            pauses: AtomicU32::new(0),
            shut_down: AtomicBool::new(false),
            step: AtomicU32::new(0),
            grace: AtomicU64::new(0),
            suspend_port: AtomicU32::new(0),
        }
    }

    /// The present stage.
    pub fn stage(&self) -> Stage {
        match self.stage.load(SeqCst) {
            0 => Stage::Alive,
            1 => Stage::Dying,
            2 => Stage::Dead,
            _ => Stage::Gone,
        }
    }

    /// Goes from one stage to the next; false where it is not at `from`.
    pub(super) fn advance(&self, from: Stage, to: Stage) -> bool {
        self.stage
            .compare_exchange(from as u8, to as u8, SeqCst, SeqCst)
            .is_ok()
    }

    /// Has its end begun?
    #[inline]
    pub fn is_dying(&self) -> bool {
        self.stage.load(SeqCst) != Stage::Alive as u8
    }

    /// Has it shut down, and do its vcpus stand still for that?
    pub fn is_shut_down(&self) -> bool {
        self.shut_down.load(SeqCst)
    }

    pub(super) fn set_shut_down(&self, on: bool) {
        self.shut_down.store(on, SeqCst);
    }

    /// Has the toolstack paused it?
    pub fn is_paused(&self) -> bool {
        self.pauses.load(SeqCst) != 0
    }

    /// Makes a new vcpu stand still for what its domain stands still for. It is down, so it does not run yet.
    pub(super) fn hold_new(&self, domain: &Domain, vcpu: &Vcpu) {
        for (holds, why) in [
            (self.is_paused(), Hold::PAUSED),
            (domain.shutting_down.load(SeqCst), Hold::SHUT_DOWN),
            (self.is_dying(), Hold::DYING),
        ] {
            if holds {
                sched::hold(vcpu, why);
            }
        }
    }
}

/// Stops the domain's vcpus for reason `why`, and waits until none of them runs; the current one goes on to the exit
/// path.
pub fn stop_all(domain: &Domain, why: Hold) {
    domain.vcpus().for_each(|v| sched::hold(v, why));
    domain.vcpus().for_each(sched::wait_stopped);
}

/// Lets the domain's vcpus go on, as far as `why` kept them from it.
pub fn let_go(domain: &Domain, why: Hold) {
    domain.vcpus().for_each(|v| sched::let_go(v, why));
}

/// Pauses the domain (`XEN_DOMCTL_pausedomain`); when it returns, no vcpu of it runs. Under the lock of `domctl`, and
/// not for the caller's own domain.
///
/// # Errors
/// `EOVERFLOW` for a pause too many.
pub fn pause(domain: &Domain) -> Result<(), Errno> {
    let pauses = domain.life.pauses.load(SeqCst);
    if pauses == MAX_PAUSES {
        return Err(Errno::EOVERFLOW);
    }
    domain.life.pauses.store(pauses + 1, SeqCst);
    if pauses == 0 {
        stop_all(domain, Hold::PAUSED);
    }
    Ok(())
}

/// Ends one [`pause`]. Under the lock of `domctl`.
///
/// # Errors
/// `EINVAL` where there is none.
pub fn unpause(domain: &Domain) -> Result<(), Errno> {
    let pauses = domain.life.pauses.load(SeqCst);
    let left = pauses.checked_sub(1).ok_or(Errno::EINVAL)?;
    domain.life.pauses.store(left, SeqCst);
    if left == 0 {
        let_go(domain, Hold::PAUSED);
    }
    Ok(())
}
