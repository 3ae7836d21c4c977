//! Entries of version 2: the marks stand in a status word that only the hypervisor writes; the granter's head and
//! contents stand in the entry, which only the granter writes.
//!
//! A granter that takes its page back clears the head, then looks at the status. The hypervisor sets the status, then
//! looks at the head again. So at least one of them sees the other: either the granter knows that its page is in use,
//! or the hypervisor finds the grant gone.

use super::active::Need;
use super::{Active, Ask, Pins, REFUSED, What, is_access};
use xen_abi::{GTF_sub_page, GTF_transitive, GTF_type_mask};

/// An entry in the granter's table, and its status.
pub trait Entry {
    /// Flags and grantee.
    fn head(&self) -> u32;
    /// The word behind the head: for a part of a page its first byte (low) and length (high), for another domain's
    /// grant that domain (low).
    fn word(&self) -> u32;
    /// The frame; for another domain's grant, the entry there (low).
    fn frame(&self) -> u64;
    /// Sets marks in the status. Reads that follow are made after it: a full barrier.
    fn set_marks(&self, marks: u16);
    /// Takes marks off the status.
    fn clear_marks(&self, marks: u16);
}

/// Begins a use of an entry.
///
/// # Errors
/// `GNTST_general_error` where it does not grant this.
#[inline]
pub fn pin(entry: &impl Entry, active: &mut Active, ask: Ask) -> Result<What, i16> {
    match active.need(ask)? {
        Need::Nothing(pins) => Ok(active.go_on(pins)),
        Need::Marks(pins) => {
            claim(entry, active.pins(), ask)?;
            Ok(active.go_on(pins))
        }
        Need::Entry => {
            let head = claim(entry, Pins::default(), ask)?;
            let what = contents(entry, head);
            active.begin(ask, what);
            Ok(what)
        }
    }
}

/// Ends a use that [`pin`] began.
#[inline]
pub fn unpin(entry: &impl Entry, active: &mut Active, write: bool) {
    let gone = active.end(write);
    if gone != 0 {
        entry.clear_marks(gone);
    }
}

/// Whether a head permits a use: parts of pages, and what other domains lend, can be copied and not mapped.
fn permits(head: u32, ask: Ask) -> bool {
    let part = head as u16 & GTF_sub_page != 0;
    let passed_on = head as u16 & GTF_type_mask == GTF_transitive;
    let usable = is_access(head) && (ask.copy || !part) || passed_on && ask.copy;
    usable && ask.is_permitted(head)
}

/// Sets the marks for an entry that permits the use, before and after; answers its head.
fn claim(entry: &impl Entry, others: Pins, ask: Ask) -> Result<u32, i16> {
    let head = entry.head();
    if !permits(head, ask) {
        return Err(REFUSED);
    }
    entry.set_marks(ask.marks());
    let now = entry.head();
    if now == head {
        return Ok(head);
    }
    // The granter has taken the grant back, or plays with it: what other uses have marked stays.
    entry.clear_marks(ask.marks() & !others.marks());
    Err(REFUSED)
}

/// What an entry with this head lends. Its granter may write nonsense: that is then what it lends.
fn contents(entry: &impl Entry, head: u32) -> What {
    let word = entry.word();
    let (low, high) = (word as u16, (word >> 16) as u16);
    if head as u16 & GTF_type_mask == GTF_transitive {
        return What::Other {
            domain: low,
            gref: entry.frame() as u32,
        };
    }
    let frame = What::frame_of(entry.frame());
    if head as u16 & GTF_sub_page == 0 {
        return What::Page { frame };
    }
    What::Part {
        frame,
        offset: low,
        length: high,
    }
}
