//! Entries of version 1: the head holds the flags, marks among them, in its low half and the grantee in its high half;
//! granter and hypervisor both change it, by compare-exchange.

use super::active::Need;
use super::{Active, Ask, REFUSED, TRIES, What, is_access};
use xen_abi::GTF_sub_page;

/// An entry in the granter's table.
pub trait Entry {
    /// Flags and grantee.
    fn head(&self) -> u32;
    /// Changes the head from `old` to `new`.
    ///
    /// # Errors
    /// What it is, if it is not `old`.
    fn exchange_head(&self, old: u32, new: u32) -> Result<(), u32>;
    /// Takes marks off the head, whatever else it is by now.
    fn clear_marks(&self, marks: u16);
    /// The page's frame.
    fn frame(&self) -> u32;
}

/// Begins a use of an entry.
///
/// # Errors
/// `GNTST_general_error` where it does not grant this, or its granter changes it all the time.
#[inline]
pub fn pin(entry: &impl Entry, active: &mut Active, ask: Ask) -> Result<What, i16> {
    match active.need(ask)? {
        Need::Nothing(pins) => Ok(active.go_on(pins)),
        Need::Marks(pins) => {
            claim(entry, ask)?;
            Ok(active.go_on(pins))
        }
        Need::Entry => {
            claim(entry, ask)?;
            // Before the mark was set the granter might change the frame; now it must not, and if it does, this is
            // what it has lent.
            let what = What::Page { frame: entry.frame() };
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

/// Whether a head permits a use.
fn permits(head: u32, ask: Ask) -> bool {
    is_access(head) && head as u16 & GTF_sub_page == 0 && ask.is_permitted(head)
}

/// Sets the marks in an entry that permits the use.
fn claim(entry: &impl Entry, ask: Ask) -> Result<(), i16> {
    let mut head = entry.head();
    for _ in 0..TRIES {
        if !permits(head, ask) {
            return Err(REFUSED);
        }
        match entry.exchange_head(head, head | ask.marks() as u32) {
            Ok(()) => return Ok(()),
            Err(now) => head = now,
        }
    }
    Err(REFUSED)
}
