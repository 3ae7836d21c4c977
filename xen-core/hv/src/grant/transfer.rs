//! Giving a page away, to a domain that waits for one.

use super::Granters;
use super::table::Entry;
use crate::domain::{Domain, Vcpu};
use crate::mm::alloc;
use crate::mm::frame::Mfn;
use xen_abi::*;
use xen_logic::grant::transfer::{COMPLETED, commit};
use xen_logic::grant::{What, v1, v2};

/// Carries out one `transfer` of the current domain's.
///
/// # Errors
/// `GNTST_*`.
pub fn transfer(cur: &'static Vcpu, takers: &mut Granters, op: &gnttab_transfer) -> Result<(), i16> {
    let own = cur.domain();
    let taker = takers.find(cur, op.domid)?.clone();
    if taker.id == own.id {
        return Err(GNTST_bad_domain);
    }
    if What::frame_of(op.mfn) == u32::MAX {
        return Err(GNTST_bad_page);
    }
    let mut refused = GNTST_general_error;
    let promise = || {
        promise(&taker, op.grant_ref, own.id)
            .inspect_err(|status| refused = *status)
            .is_ok()
    };
    let given = alloc::transfer(Mfn(op.mfn), own, &taker, promise);
    given.map_err(|errno| match errno {
        Errno::EPERM => refused,
        Errno::ENOMEM => GNTST_general_error,
        _ => GNTST_bad_page,
    })?;
    complete(&taker, op.grant_ref, op.mfn as u32);
    Ok(())
}

/// Promises a page to the entry of a taker that waits for one from `giver`. The page is there by then: the taker waits
/// for a promise to be kept, maybe in a loop.
fn promise(taker: &Domain, gref: grant_ref_t, giver: domid_t) -> Result<(), i16> {
    let mut table = taker.grants.table.lock();
    let promised = match table.entry(gref).ok_or(GNTST_bad_gntref)? {
        Entry::V1(entry, _) => commit(
            giver,
            || v1::Entry::head(&entry),
            |old, new| v1::Entry::exchange_head(&entry, old, new),
        ),
        Entry::V2(entry, _) => commit(
            giver,
            || v2::Entry::head(&entry),
            |old, new| entry.exchange_head(old, new),
        ),
        Entry::Gone(_) => return Err(GNTST_bad_gntref),
    };
    if promised { Ok(()) } else { Err(GNTST_general_error) }
}

/// Tells the taker of its page.
fn complete(taker: &Domain, gref: grant_ref_t, frame: u32) {
    let mut table = taker.grants.table.lock();
    match table.entry(gref) {
        Some(Entry::V1(entry, _)) => {
            entry.set_frame(frame);
            entry.set_head(COMPLETED);
        }
        Some(Entry::V2(entry, _)) => {
            entry.set_frame(frame.into());
            entry.set_head(COMPLETED);
        }
        _ => {}
    }
}
