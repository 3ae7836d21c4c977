//! Uses of frames: taken and dropped, with the flush that a change of use needs and the check of the contents.

use super::frame::{self, FrameInfo, Mfn, Owner};
use super::{diagnose, flush, logdirty, pending, pt};
use crate::domain::Domain;
use crate::hypercall::preempt_needed;
use crate::sync::PollMailbox;
use core::sync::atomic::Ordering::Relaxed;
use spin::RelaxStrategy;
use xen_abi::Errno;
use xen_logic::frame::cells::{self, Acquired, Finish, Released};
use xen_logic::frame::{ENTRIES, Type};

/// Why a use was not granted, or an operation did not end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fail {
    /// Refused.
    Errno(Errno),
    /// Interrupted; what was done so far is kept, and the same call continues.
    Again,
}

impl Fail {
    /// The errno for callers that gave an unlimited budget, and so are never interrupted.
    pub fn errno(self) -> Errno {
        match self {
            Fail::Errno(errno) => errno,
            Fail::Again => Errno::EAGAIN,
        }
    }
}

impl From<Errno> for Fail {
    fn from(errno: Errno) -> Self {
        Fail::Errno(errno)
    }
}

/// How much work a call may do before it looks whether it should stop.
///
/// Each call does one portion before it looks, so that an operation which is continued again and again comes to its
/// end.
pub struct Budget {
    left: u32,
    at_end: AtEnd,
}

/// What happens after a portion of work.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AtEnd {
    /// It goes on.
    GoOn,
    /// It goes on unless something waits.
    Look,
    /// It stops.
    Stop,
}

/// Table entries in a portion of work.
const PORTION: u32 = 2048;

impl Budget {
    /// For hypercalls that can be continued; the caller holds no lock.
    #[inline]
    pub const fn limited() -> Self {
        Self::new(AtEnd::Look)
    }

    /// For those that are over after one portion, with a lock held or no way to be continued: what is left then is
    /// finished by later hypercalls (see [`pending`]) where it is the dropping of references, and is refused where it
    /// is a check.
    #[inline]
    pub const fn portion() -> Self {
        Self::new(AtEnd::Stop)
    }

    /// For those that must end at once, where the work is known to be small, or nobody waits.
    #[inline]
    pub const fn unlimited() -> Self {
        Self::new(AtEnd::GoOn)
    }

    #[inline]
    const fn new(at_end: AtEnd) -> Self {
        Self { left: PORTION, at_end }
    }

    /// Has it ended?
    #[inline]
    pub fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// Accounts for `entries` entries; says whether to stop.
    #[inline]
    pub fn spend(&mut self, entries: u32) -> bool {
        match self.left.checked_sub(entries) {
            Some(left) => {
                self.left = left;
                false
            }
            None => self.portion_done(),
        }
    }

    #[cold]
    fn portion_done(&mut self) -> bool {
        let stop = match self.at_end {
            AtEnd::GoOn => false,
            AtEnd::Look => preempt_needed(),
            AtEnd::Stop => true,
        };
        self.left = if stop { 0 } else { PORTION };
        stop
    }
}

/// Takes a use of the frame as `want` for its owner `domain`; `foreign` if another domain maps it.
///
/// # Errors
/// `EINVAL` if the frame is not the domain's, is in use as another type, or its contents do not fit; `Again` if the
/// budget ended.
#[inline]
pub fn acquire(
    info: &'static FrameInfo,
    want: Type,
    domain: &Domain,
    foreign: bool,
    budget: &mut Budget,
) -> Result<(), Fail> {
    let owner = Owner::domain(domain.id);
    match cells::get_type(info, want, foreign, || info.owner() == owner) {
        Acquired::Granted => Ok(()),
        other => acquire_slowly(info, want, domain, foreign, budget, other),
    }
}

/// Takes one more use of a frame that is in use as `want` by its owner `domain`; `None` if it is not: ask in full.
#[inline(always)]
pub fn acquire_valid(mfn: Mfn, want: Type, domain: &Domain) -> Option<&'static FrameInfo> {
    let info = frame::any(mfn)?;
    let owner = Owner::domain(domain.id);
    if cells::get_type_if_valid(info, want, || info.owner() == owner) {
        Some(info)
    } else {
        None
    }
}

#[inline(never)]
fn acquire_slowly(
    info: &'static FrameInfo,
    want: Type,
    domain: &Domain,
    foreign: bool,
    budget: &mut Budget,
    first: Acquired,
) -> Result<(), Fail> {
    let owner = Owner::domain(domain.id);
    let mut answer = first;
    loop {
        match answer {
            Acquired::Granted => return Ok(()),
            Acquired::Claimed { from, foreign, resume } => {
                if from != want && from != Type::None {
                    flush::flush_stale(info, domain, foreign);
                }
                return check(info, want, resume, domain, budget);
            }
            Acquired::Undo { typ, resume } => {
                if !unwind(info, typ, resume, budget) {
                    pending::push(info);
                    return Err(Fail::Again);
                }
            }
            Acquired::Wait => PollMailbox::relax(),
            Acquired::Refused(word) => {
                diagnose::refused(info, want, word);
                return Err(Fail::Errno(Errno::EINVAL));
            }
            Acquired::NotOwned => {
                diagnose::not_owned(info, want, domain);
                return Err(Fail::Errno(Errno::EINVAL));
            }
        }
        answer = cells::get_type(info, want, foreign, || info.owner() == owner);
    }
}

/// Checks the contents of a frame that this CPU has claimed, and ends the busy state.
fn check(info: &'static FrameInfo, want: Type, resume: u16, domain: &Domain, budget: &mut Budget) -> Result<(), Fail> {
    if want.is_page_table() {
        return pt::validate(info, want.level(), resume, domain, budget);
    }
    if want == Type::SegDesc && !check_descriptors(info) {
        cells::finish(info, Finish::Undone);
        return Err(Fail::Errno(Errno::EINVAL));
    }
    cells::finish(info, Finish::Validated);
    logdirty::touched(info);
    Ok(())
}

/// Checks and fixes a page of descriptors that this CPU has claimed: guests have it read-only at most.
fn check_descriptors(info: &'static FrameInfo) -> bool {
    for index in 0..ENTRIES as usize {
        let word = info.word(index);
        let value = word.load(Relaxed);
        match xen_logic::descriptor::fix(value) {
            Some(fixed) if fixed == value => {}
            Some(fixed) => word.store(fixed, Relaxed),
            None => {
                diagnose::bad_descriptor(info, index, value);
                return false;
            }
        }
    }
    true
}

/// Drops one use. If that was the last of a page table and the budget ends, the rest is done by later hypercalls.
#[inline]
pub fn release(info: &'static FrameInfo, budget: &mut Budget) {
    if let Released::Undo { typ, resume } = cells::put_type(info)
        && !unwind(info, typ, resume, budget)
    {
        pending::push(info);
    }
}

/// Drops one use, as [`release`]; `false` if the budget ended: the caller then still holds it.
pub fn release_or_keep(info: &'static FrameInfo, budget: &mut Budget) -> bool {
    match cells::put_type(info) {
        Released::Done => true,
        Released::Undo { typ, resume } => unwind(info, typ, resume, budget),
    }
}

/// Drops what entries below `resume` of a busy page table hold, and ends the busy state; `false` if the budget ended:
/// the frame is then parked, with the caller's count.
pub(super) fn unwind(info: &'static FrameInfo, typ: Type, resume: u16, budget: &mut Budget) -> bool {
    logdirty::table_gone(info);
    let how = match pt::drop_entries(info, typ.level(), resume, budget) {
        Ok(()) => Finish::Undone,
        Err(resume) => Finish::Parked { resume, keep: true },
    };
    cells::finish(info, how);
    how == Finish::Undone
}

/// The entry of a frame that must be RAM.
///
/// # Errors
/// `EINVAL`.
#[inline]
pub fn ram(mfn: u64) -> Result<&'static FrameInfo, Errno> {
    frame::info(Mfn(mfn)).ok_or(Errno::EINVAL)
}
