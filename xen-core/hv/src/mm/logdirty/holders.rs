//! Who may write to a domain's pages without saying so each time: what is marked in every round.
//!
//! The hypervisor itself, where the guest has given it pages for times and events; grants in use for writing; and
//! writable entries in the privileged domain's tables, which are looked for in all of them, since a frame does not know
//! who maps it. Whoever becomes one of these marks the page first ([`super::touched`], [`super::entry_changed`]), so
//! what comes up behind the search is marked, too.

use super::with;
use crate::domain::Domain;
use crate::mm::frame::{self, Mfn, Owner, Type};
use crate::{event, grant, irq, time};
use core::sync::atomic::Ordering::Relaxed;
use xen_logic::logdirty::Machine;
use xen_logic::pte::Pte;

/// How far the search is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Search {
    /// Nothing is done.
    Begin,
    /// The grants from this one on are to be looked at.
    Grants(u32),
    /// The frames from this one on.
    Tables(u64),
}

/// The domain whose tables may name frames of others without a grant.
const PRIVILEGED: Owner = Owner::domain(0);
/// Grants, and frames, that are looked at in one go.
const GRANTS: u32 = 2048;
const FRAMES: u64 = 8192;

/// Does a portion of the search, and marks what it finds; the rest of it, if there is one.
pub(super) fn mark(domain: &Domain, at: Search) -> Option<Search> {
    match at {
        Search::Begin => {
            let mut mark = |mfn: Mfn| mark_frame(domain, mfn);
            event::held_frames(domain, &mut mark);
            time::held_frames(domain, &mut mark);
            irq::held_frames(domain, &mut mark);
            Some(Search::Grants(0))
        }
        Search::Grants(first) => {
            let next = grant::each_written(domain, first, GRANTS, |mfn| mark_frame(domain, mfn));
            Some(next.map_or(Search::Tables(0), Search::Grants))
        }
        Search::Tables(first) => {
            let end = first.saturating_add(FRAMES).min(frame::limit());
            (first..end).for_each(|mfn| look_at(domain, Mfn(mfn)));
            (end < frame::limit()).then_some(Search::Tables(end))
        }
    }
}

fn mark_frame(domain: &Domain, mfn: Mfn) {
    with(domain, |tracker, m| tracker.mark(m, mfn.0));
}

/// Marks the domain's frames that a table of the privileged domain's maps writable.
fn look_at(domain: &Domain, mfn: Mfn) {
    let Some(info) = frame::any(mfn) else { return };
    let word = info.type_word();
    // A table that is not in use holds nothing; one that was just given up may be anything, which marks too much.
    if !word.is(Type::L1) || !word.holds_reference() || info.owner() != PRIVILEGED {
        return;
    }
    with(domain, |tracker, m| {
        for entry in info.words().iter().map(|word| Pte(word.load(Relaxed))) {
            if entry.is_present()
                && entry.is_writable()
                && let Some(pfn) = m.pfn(entry.mfn())
            {
                tracker.mark_page(pfn);
            }
        }
    });
}
