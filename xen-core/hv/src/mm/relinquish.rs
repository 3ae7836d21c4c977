//! The end of a domain's memory.
//!
//! Frames are taken up from the domain's list, each once: its pin is dropped, an interrupted check undone, and the
//! domain's own reference given up. What tables held goes with their last use. A frame that others still hold stays the
//! dead domain's until they let it go: it is freed by whoever drops the last reference.

use super::frame::{self, FrameInfo, Mfn};
use super::typing::{self, Budget};
use super::{alloc, pending};
use crate::domain::Domain;
use crate::mm::alloc::FrameTable;
use xen_logic::frame::Type;
use xen_logic::frame::cells;

/// What a frame costs, in table entries, besides what it holds.
const COST: u32 = 4;

/// Takes the domain's memory from it, a portion a call; true when the domain itself holds nothing any more, though
/// others may. Its vcpus do not run, are loaded nowhere, and have no base pointers and no descriptor tables; nobody
/// starts an operation for it any more.
pub fn relinquish(domain: &Domain) -> bool {
    let budget = &mut Budget::limited();
    domain.mm.list.lock().close();
    // To take a claim back cannot fail.
    let _ = alloc::set_claim(&domain.mm, 0);
    while let Some(mfn) = take_up(domain) {
        if let Ok(page) = frame::get_page(mfn, domain) {
            give_up(page.info(), domain, budget);
        }
        if budget.spend(COST) {
            return false;
        }
    }
    pending::finish(budget)
}

/// The next frame. Once it is taken up it may be anybody's, if its last reference goes at this moment.
fn take_up(domain: &Domain) -> Option<Mfn> {
    let frame = domain.mm.list.lock().take_up(&mut FrameTable)?;
    Some(Mfn(frame.into()))
}

/// The domain lets go of a frame that the caller holds a reference to. Work that the budget does not allow is pending
/// afterwards.
fn give_up(info: &'static FrameInfo, domain: &Domain, budget: &mut Budget) {
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
    // False where the domain gave it up before, while others held it.
    cells::release_allocation(info);
}
