//! Cache maintenance of a page that the caller has, or has mapped by a grant.

use crate::arch::x86::cpu;
use crate::domain::Vcpu;
use crate::mm::directmap;
use crate::mm::frame::{self, Mfn};
use crate::mm::layout::PAGE_SIZE;
use xen_abi::*;
use xen_logic::grant::maptrack::Next;

/// Bytes in a cache line, or in a part of one.
const LINE: u64 = 64;

/// Handles that are looked at in one go, in search of the page's.
const LOOK: u32 = 4096;

/// Carries out one `cache_flush`. Caches are coherent here, also with devices: it is for guests that ask nevertheless.
///
/// # Errors
/// `EINVAL` for a range that leaves its page or an unknown operation, `EOPNOTSUPP` for a page named by a grant or for
/// dropping what is in the caches, `EPERM` for a page that the caller neither owns nor has mapped.
pub fn cache_flush(cur: &'static Vcpu, op: &gnttab_cache_flush) -> Result<(), Errno> {
    let both = GNTTAB_CACHE_CLEAN | GNTTAB_CACHE_INVAL;
    if op.op & !(both | GNTTAB_CACHE_SOURCE_GREF) != 0 {
        return Err(Errno::EINVAL);
    }
    if u64::from(op.offset) + u64::from(op.length) > PAGE_SIZE {
        return Err(Errno::EINVAL);
    }
    if op.op & GNTTAB_CACHE_SOURCE_GREF != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if op.length == 0 || op.op & both == 0 {
        return Ok(());
    }
    if op.op & both == GNTTAB_CACHE_INVAL {
        return Err(Errno::EOPNOTSUPP);
    }
    let mfn = op.a >> 12;
    if frame::info(Mfn(mfn)).is_none() || frame::get_page(Mfn(mfn), cur.domain()).is_err() && !has_mapped(cur, mfn) {
        return Err(Errno::EPERM);
    }
    let first = u64::from(op.offset) & !(LINE - 1);
    for line in (first..u64::from(op.offset) + u64::from(op.length)).step_by(LINE as usize) {
        cpu::flush_line(directmap(Mfn(mfn).maddr() + line));
    }
    Ok(())
}

/// Has the caller mapped this frame by a grant? As far as is looked: a domain with thousands of mappings has no use
/// for this operation.
fn has_mapped(cur: &Vcpu, mfn: u64) -> bool {
    let mappings = cur.domain().grants.mappings.lock();
    let mut from = 0;
    while from < LOOK {
        match mappings.next(from, LOOK - from) {
            Next::Found(_, mapping) if mapping.frame() as u64 == mfn => return true,
            Next::Found(handle, _) => from = handle + 1,
            Next::Later(handle) => from = handle,
            Next::End => return false,
        }
    }
    false
}
