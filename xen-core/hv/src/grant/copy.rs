//! Copying between pages, each named by a grant or as the caller's own.

use crate::domain::{self, Domain, Vcpu};
use crate::mm;
use crate::mm::frame::{self, Mfn, PageRef, Type, TypedRef};
use crate::mm::layout::PAGE_SIZE;
use alloc::sync::Arc;
use xen_abi::*;

/// What keeps a page while it is copied.
enum Held {
    Read { _page: PageRef },
    Write { _page: TypedRef },
}

/// One end of a copy.
struct End {
    mfn: Mfn,
    _held: Held,
    /// The grant in use; ended when the end is dropped.
    grant: Option<(Arc<Domain>, grant_ref_t, bool)>,
}

impl Drop for End {
    fn drop(&mut self) {
        if let Some((granter, gref, write)) = &self.grant {
            granter.grants.unpin(*gref, *write);
        }
    }
}

fn hold(mfn: Mfn, owner: &Domain, write: bool) -> Result<Held, i16> {
    let held = match write {
        true => frame::get_page_type(mfn, owner, Type::Writable).map(|page| Held::Write { _page: page }),
        false => frame::get_page(mfn, owner).map(|page| Held::Read { _page: page }),
    };
    held.map_err(|_| GNTST_bad_page)
}

/// Finds and holds one end.
fn end(cur: &Vcpu, ptr: &gnttab_copy_ptr, by_grant: bool, write: bool) -> Result<End, i16> {
    let own = cur.domain();
    let id = if ptr.domid == DOMID_SELF { own.id } else { ptr.domid };
    let owner = domain::find(id).filter(|d| !d.is_idle()).ok_or(GNTST_bad_domain)?;
    if !by_grant {
        // A page by its number must be the caller's own.
        if id != own.id {
            return Err(GNTST_permission_denied);
        }
        let mfn = Mfn(ptr.u);
        return Ok(End {
            mfn,
            _held: hold(mfn, &owner, write)?,
            grant: None,
        });
    }
    let gref = ptr.u as grant_ref_t;
    let mfn = owner.grants.pin(gref, own.id, write)?;
    match hold(mfn, &owner, write) {
        Ok(held) => Ok(End {
            mfn,
            _held: held,
            grant: Some((owner, gref, write)),
        }),
        Err(status) => {
            owner.grants.unpin(gref, write);
            Err(status)
        }
    }
}

/// Carries out one `copy`.
///
/// # Errors
/// `GNTST_*`.
pub fn copy(cur: &'static Vcpu, op: &gnttab_copy) -> Result<(), i16> {
    let fits = |offset: u16| u64::from(offset) + u64::from(op.len) <= PAGE_SIZE;
    if !fits(op.source.offset) || !fits(op.dest.offset) {
        return Err(GNTST_bad_copy_arg);
    }
    let from = end(cur, &op.source, op.flags & GNTCOPY_source_gref != 0, false)?;
    let to = end(cur, &op.dest, op.flags & GNTCOPY_dest_gref != 0, true)?;
    // SAFETY: both frames are RAM and held, the target as writable memory, so it is nobody's page table; both ranges
    // lie within their pages, and may overlap. Guests may change them meanwhile: bytes are bytes.
    unsafe {
        let source = mm::directmap(from.mfn.maddr() + u64::from(op.source.offset));
        mm::directmap(to.mfn.maddr() + u64::from(op.dest.offset)).copy_from(source, op.len.into());
    }
    Ok(())
}
