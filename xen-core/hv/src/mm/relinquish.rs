//! The end of a domain's memory.
//!
//! Two passes over the domain's list of frames. The first drops pins and undoes interrupted checks: with the tables that
//! they kept go the uses of all other frames. After that most frames are held by the domain's own reference alone, and
//! the second pass frees those in runs, without asking more of each than that. A frame that others still hold stays the
//! dead domain's until they let it go: it is freed by whoever drops the last reference.

use super::frame::{self, FrameInfo, Mfn};
use super::typing::{self, Budget};
use super::{alloc, m2p, pages, pending};
use crate::domain::Domain;
use crate::mm::alloc::FrameTable;
use xen_logic::frame::Type;
use xen_logic::frame::cells;

/// What a frame costs that needs more than a look, in table entries.
const COST: u32 = 4;
/// Frames that are looked at with the list's lock held.
const BATCH: u32 = 256;
/// Looks that cost as much as a table entry.
const LOOKS: u32 = 4;

/// The first pass, a portion a call; true when no table of the domain's is pinned or half checked any more. Its vcpus
/// do not run, are loaded nowhere, and have no base pointers and no descriptor tables; nobody starts an operation for
/// it any more.
pub fn drop_tables(domain: &Domain) -> bool {
    let budget = &mut Budget::limited();
    domain.mm.list.lock().close();
    // To take a claim back cannot fail.
    let _ = alloc::set_claim(&domain.mm, 0);
    loop {
        let passed = domain.mm.list.lock().pass_over(&mut FrameTable, BATCH, is_plain);
        if passed < BATCH {
            // At the end, or at a frame that wants work.
            let Some(mfn) = take_up(domain) else { break };
            undo(mfn, domain, budget);
        }
        if budget.spend(COST + passed / LOOKS) {
            return false;
        }
    }
    if !pending::finish(budget) {
        return false;
    }
    domain.mm.list.lock().rewind();
    true
}

/// The second pass, a portion a call; true when the domain itself holds nothing any more, though others may. After
/// [`drop_tables`].
pub fn relinquish(domain: &Domain) -> bool {
    let budget = &mut Budget::limited();
    loop {
        let freed = free_plain(domain);
        if freed == 0 {
            let Some(mfn) = take_up(domain) else { break };
            undo(mfn, domain, budget);
            if let Ok(page) = frame::get_page(mfn, domain) {
                // False where the domain gave it up before, while others held it.
                cells::release_allocation(page.info());
            }
        }
        if budget.spend(COST + freed) {
            return false;
        }
    }
    pending::finish(budget)
}

/// Has the frame no pin, and no check that was interrupted?
fn is_plain(frame: u32) -> bool {
    let word = frame::entry(Mfn(frame.into())).type_word();
    !word.is_pinned() && !word.is_parked()
}

/// The next frame of this pass. Once it is taken up it may be anybody's, if its last reference goes at this moment.
fn take_up(domain: &Domain) -> Option<Mfn> {
    let frame = domain.mm.list.lock().take_up(&mut FrameTable)?;
    Some(Mfn(frame.into()))
}

/// Drops the frame's pin, or undoes what an interrupted check has left. Work that the budget does not allow is pending
/// afterwards.
fn undo(mfn: Mfn, domain: &Domain, budget: &mut Budget) {
    let Ok(page) = frame::get_page(mfn, domain) else { return };
    let info: &'static FrameInfo = page.info();
    if cells::unpin(info) {
        typing::release(info, budget);
    }
    let word = info.type_word();
    if word.is_parked() && word.count() == 0 {
        // A check that was interrupted and not taken up again. Where the budget ends, the list of pending tables has
        // taken the frame over.
        if typing::acquire(info, Type::Writable, domain, false, budget).is_ok() {
            typing::release(info, budget);
        }
    }
}

/// Frees the frames at the head of the list that the domain alone holds; how many.
fn free_plain(domain: &Domain) -> u32 {
    let mut runs = Runs::new();
    let freed = domain.mm.list.lock().strip(&mut FrameTable, BATCH, |frame| {
        let mfn = Mfn(frame.into());
        // Once stolen, the frame is out of everybody's reach, and nothing but its place on the list is left of it.
        let ours = runs.has_room_for(frame) && cells::steal(frame::entry(mfn));
        if ours {
            frame::entry(mfn).unassign();
            m2p::clear(mfn);
            runs.add(frame);
        }
        ours
    });
    for (start, end) in runs.iter() {
        alloc::free_run(start, end);
    }
    pages::give_back(domain, freed);
    freed
}

/// Frame numbers, as runs from the first to before the last. A domain's list goes down through the blocks it was given.
struct Runs {
    runs: [(u32, u32); Self::MOST],
    used: usize,
}

impl Runs {
    const MOST: usize = 16;

    const fn new() -> Self {
        Self {
            runs: [(0, 0); Self::MOST],
            used: 0,
        }
    }

    /// Is the frame the one before the newest run?
    fn continues(&self, frame: u32) -> bool {
        self.used != 0 && self.runs[self.used - 1].0 == frame + 1
    }

    fn has_room_for(&self, frame: u32) -> bool {
        self.used < Self::MOST || self.continues(frame)
    }

    fn add(&mut self, frame: u32) {
        if self.continues(frame) {
            self.runs[self.used - 1].0 = frame;
        } else {
            self.runs[self.used] = (frame, frame + 1);
            self.used += 1;
        }
    }

    fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        self.runs[..self.used].iter().copied()
    }
}
