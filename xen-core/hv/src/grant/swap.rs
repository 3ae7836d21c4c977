//! Exchanging two entries of a domain's own table.

use super::entry::word_pair;
use super::table::Table;
use crate::domain::Domain;
use core::sync::atomic::Ordering::SeqCst;
use xen_abi::*;

/// Carries out one `swap_grant_ref` of the domain's.
///
/// # Errors
/// `GNTST_bad_gntref` for no such entries, `GNTST_eagain` while one is in use.
pub fn swap(domain: &Domain, op: &gnttab_swap_grant_ref) -> Result<(), i16> {
    let table = domain.grants.table.lock();
    let (a, b) = (op.ref_a, op.ref_b);
    if a >= table.entries() || b >= table.entries() {
        return Err(GNTST_bad_gntref);
    }
    if a == b {
        return Ok(());
    }
    for gref in [a, b] {
        if table.active(gref).is_none_or(|active| !active.is_idle()) {
            return Err(GNTST_eagain);
        }
    }
    swap_words(&table, a, b).ok_or(GNTST_bad_gntref)
}

/// An entry is one word of eight bytes in version 1, two in version 2. The granter asks for this, and must not change
/// the entries meanwhile: if it does, it has lent what it has written.
fn swap_words(table: &Table, a: grant_ref_t, b: grant_ref_t) -> Option<()> {
    let words = table.version();
    for word in (0..words).rev() {
        let x = word_pair(table.frames(), a * words + word)?;
        let y = word_pair(table.frames(), b * words + word)?;
        y.store(x.swap(y.load(SeqCst), SeqCst), SeqCst);
    }
    Some(())
}
