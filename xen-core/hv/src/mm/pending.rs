//! Page tables that nobody uses any more and that were not undone in one go.
//!
//! Dropping the last use of a page table drops what its entries hold, which may be a whole tree. When the budget ends,
//! the table is parked and put on one list, which owns the last count. Every memory hypercall finishes the list
//! before it does its own work, and before it reports success: a guest that was told that a table is free finds
//! it free.
//!
//! The list runs through the frames' stamps: a frame gets its next stamp with its last use, and while it is on the list
//! it has one.

use super::frame::{self, FrameInfo, Mfn};
use super::typing::{self, Budget};
use crate::hypercall::Stop;
use crate::sync::PollMailbox;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use spin::RelaxStrategy;

/// First frame of the list, plus one; 0 is none. Frames are pushed one by one and taken all at once.
static HEAD: AtomicU32 = AtomicU32::new(0);
/// Frames on the list or taken from it and not finished.
static OUTSTANDING: AtomicU64 = AtomicU64::new(0);

/// Puts a parked table on the list, which takes over the caller's count.
pub(super) fn push(info: &'static FrameInfo) {
    OUTSTANDING.fetch_add(1, Ordering::AcqRel);
    chain(info);
}

fn chain(info: &'static FrameInfo) {
    let mut head = HEAD.load(Ordering::Relaxed);
    loop {
        info.set_epoch(head);
        match HEAD.compare_exchange(head, info.mfn().0 as u32 + 1, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => head = now,
        }
    }
}

/// Is there unfinished work?
#[inline]
pub fn is_empty() -> bool {
    OUTSTANDING.load(Ordering::Acquire) == 0
}

/// Finishes the list, other CPUs' part included; `again` are the arguments to continue with if that takes too long.
///
/// # Errors
/// `Again`.
#[inline]
pub fn finish_first(again: &[u64; 6]) -> Result<(), Stop> {
    if is_empty() || finish(&mut Budget::limited()) {
        Ok(())
    } else {
        Err(Stop::Again(*again))
    }
}

/// Works on the list until nothing is outstanding; `false` if the budget ended.
#[cold]
pub(super) fn finish(budget: &mut Budget) -> bool {
    while !is_empty() {
        let mut next = HEAD.swap(0, Ordering::AcqRel);
        if next == 0 {
            // Another CPU works on what is left.
            PollMailbox::relax();
            continue;
        }
        let mut stop = false;
        while next != 0 {
            let info = frame::entry(Mfn((next - 1).into()));
            next = info.epoch();
            stop = stop || !typing::release_or_keep(info, budget);
            if stop {
                // This one and all behind it go back.
                chain(info);
            } else {
                OUTSTANDING.fetch_sub(1, Ordering::AcqRel);
            }
        }
        if stop {
            return false;
        }
    }
    true
}
