//! Copying between pages, each named by a grant or as the caller's own.

use super::Granters;
use crate::domain::{Domain, Vcpu};
use crate::mm;
use crate::mm::frame::{self, Mfn, PageRef, Type, TypedRef};
use crate::mm::layout::PAGE_SIZE;
use alloc::sync::Arc;
use xen_abi::*;
use xen_logic::grant::{Ask, What};

/// What keeps a page while it is copied.
enum Held {
    Read { _page: PageRef },
    Write { _page: TypedRef },
}

/// A use of a grant, which ends when this is dropped.
struct Pinned {
    granter: Arc<Domain>,
    gref: grant_ref_t,
    write: bool,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.granter.grants.unpin(self.gref, self.write);
    }
}

/// How a request names one end.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Name {
    domid: domid_t,
    by_grant: bool,
    u: u64,
}

/// One end of a copy. Fields are dropped in order: the page before what lends it.
struct End {
    name: Name,
    mfn: Mfn,
    /// The bytes of the page that may be used.
    first: u32,
    end: u32,
    _held: Held,
    /// The grant in use, or the one that it passes on, and then the grant itself.
    _pin: Option<Pinned>,
    _first_pin: Option<Pinned>,
}

/// Copies of a batch. The ends of the last one are kept for the next, which often has one of them too.
pub struct Copier {
    granters: Granters,
    source: Option<End>,
    dest: Option<End>,
}

fn hold(mfn: Mfn, owner: &Domain, write: bool) -> Result<Held, i16> {
    let held = match write {
        true => frame::get_page_type(mfn, owner, Type::Writable).map(|page| Held::Write { _page: page }),
        false => frame::get_page(mfn, owner).map(|page| Held::Read { _page: page }),
    };
    held.map_err(|errno| match errno {
        Errno::EAGAIN => GNTST_eagain,
        _ => GNTST_bad_page,
    })
}

fn pin(granter: &Arc<Domain>, gref: grant_ref_t, grantee: domid_t, write: bool) -> Result<(What, Pinned), i16> {
    let ask = Ask {
        grantee,
        write,
        copy: true,
    };
    let what = granter.grants.pin(gref, ask)?;
    let pinned = Pinned {
        granter: granter.clone(),
        gref,
        write,
    };
    Ok((what, pinned))
}

/// Finds and holds one end, and puts it into `slot`: it is too large to be handed around.
fn open(slot: &mut Option<End>, granters: &mut Granters, cur: &Vcpu, name: Name, write: bool) -> Result<(), i16> {
    *slot = None;
    let own = cur.domain();
    if !name.by_grant {
        // A page by its number must be the caller's own.
        if name.domid != DOMID_SELF && name.domid != own.id {
            return Err(GNTST_permission_denied);
        }
        return hold_part(slot, name, own, Mfn(name.u), (0, PAGE_SIZE as u32), [None, None], write);
    }
    let granter = granters.find(cur, name.domid)?;
    let (what, pinned) = pin(granter, name.u as grant_ref_t, own.id, write)?;
    if let What::Other { domain, gref } = what {
        return open_passed_on(slot, granters, cur, name, (domain, gref), pinned);
    }
    let (mfn, part) = part_of(what)?;
    hold_part(slot, name, granter, mfn, part, [Some(pinned), None], write)
}

/// Opens what a grant passes on, which another domain lends to the granter.
#[cold]
fn open_passed_on(
    slot: &mut Option<End>,
    granters: &mut Granters,
    cur: &Vcpu,
    name: Name,
    (domain, gref): (domid_t, grant_ref_t),
    first: Pinned,
) -> Result<(), i16> {
    if domain == first.granter.id {
        return Err(GNTST_general_error);
    }
    let lender = granters.find(cur, domain)?;
    let (what, pinned) = pin(lender, gref, first.granter.id, first.write)?;
    let (mfn, part) = part_of(what)?;
    let write = first.write;
    hold_part(slot, name, lender, mfn, part, [Some(pinned), Some(first)], write)
}

/// The page and the bytes of it that a grant lends; a grant that is passed on passes none on itself.
fn part_of(what: What) -> Result<(Mfn, (u32, u32)), i16> {
    match what {
        What::Page { frame } => Ok((Mfn(frame.into()), (0, PAGE_SIZE as u32))),
        What::Part { frame, offset, length } => {
            let (first, length) = (u32::from(offset), u32::from(length));
            Ok((Mfn(frame.into()), (first, (first + length).min(PAGE_SIZE as u32))))
        }
        What::Other { .. } => Err(GNTST_general_error),
    }
}

/// Holds a page of `owner`'s, of which a part may be used.
#[inline(always)]
fn hold_part(
    slot: &mut Option<End>,
    name: Name,
    owner: &Domain,
    mfn: Mfn,
    (first, end): (u32, u32),
    [pin, first_pin]: [Option<Pinned>; 2],
    write: bool,
) -> Result<(), i16> {
    let held = hold(mfn, owner, write)?;
    *slot = Some(End {
        name,
        mfn,
        first,
        end,
        _held: held,
        _pin: pin,
        _first_pin: first_pin,
    });
    Ok(())
}

impl Copier {
    /// Nothing has been copied.
    pub const fn new() -> Self {
        Self {
            granters: Granters::new(),
            source: None,
            dest: None,
        }
    }

    /// Carries out one `copy`.
    ///
    /// # Errors
    /// `GNTST_*`.
    pub fn copy(&mut self, cur: &'static Vcpu, op: &gnttab_copy) -> Result<(), i16> {
        let fits = |offset: u16| u64::from(offset) + u64::from(op.len) <= PAGE_SIZE;
        if !fits(op.source.offset) || !fits(op.dest.offset) {
            return Err(GNTST_bad_copy_arg);
        }
        let name = |ptr: &gnttab_copy_ptr, flag: u16| Name {
            domid: ptr.domid,
            by_grant: op.flags & flag != 0,
            u: ptr.u,
        };
        let source = name(&op.source, GNTCOPY_source_gref);
        let dest = name(&op.dest, GNTCOPY_dest_gref);
        if self.source.as_ref().is_none_or(|end| end.name != source) {
            open(&mut self.source, &mut self.granters, cur, source, false)?;
        }
        if self.dest.as_ref().is_none_or(|end| end.name != dest) {
            open(&mut self.dest, &mut self.granters, cur, dest, true)?;
        }
        match (&self.source, &self.dest) {
            (Some(source), Some(dest)) => copy_bytes((source, op.source.offset), (dest, op.dest.offset), op.len),
            _ => Err(GNTST_general_error),
        }
    }
}

/// Copies `len` bytes, which are within a page each, as far as both ends are open for them.
fn copy_bytes((from, at): (&End, u16), (to, there): (&End, u16), len: u16) -> Result<(), i16> {
    let inside = |end: &End, offset: u16| {
        let offset = u32::from(offset);
        end.first <= offset && offset + u32::from(len) <= end.end
    };
    if !inside(from, at) || !inside(to, there) {
        return Err(GNTST_general_error);
    }
    // SAFETY: both frames are RAM and held, the target as writable memory, so it is nobody's page table; both ranges
    // lie within their pages, and may overlap. Guests may change them meanwhile: bytes are bytes.
    unsafe {
        let source = mm::directmap(from.mfn.maddr() + u64::from(at));
        mm::directmap(to.mfn.maddr() + u64::from(there)).copy_from(source, len.into());
    }
    // Afterwards: a round that ends in between would be told too early.
    if let Some(info) = frame::info(to.mfn) {
        mm::logdirty::touched(info);
    }
    Ok(())
}
