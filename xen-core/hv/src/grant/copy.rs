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
    first: u64,
    end: u64,
    _held: Held,
    /// The grant in use, and the one that it passes on.
    _pins: [Option<Pinned>; 2],
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

impl Copier {
    /// Nothing has been copied.
    pub const fn new() -> Self {
        Self {
            granters: Granters::new(),
            source: None,
            dest: None,
        }
    }

    /// Finds and holds one end.
    fn open(&mut self, cur: &Vcpu, name: Name, write: bool) -> Result<End, i16> {
        if name.by_grant {
            return self.open_grant(cur, name, write);
        }
        // A page by its number must be the caller's own.
        let own = cur.domain();
        if name.domid != DOMID_SELF && name.domid != own.id {
            return Err(GNTST_permission_denied);
        }
        let mfn = Mfn(name.u);
        Ok(End {
            name,
            mfn,
            first: 0,
            end: PAGE_SIZE,
            _held: hold(mfn, own, write)?,
            _pins: [None, None],
        })
    }

    fn open_grant(&mut self, cur: &Vcpu, name: Name, write: bool) -> Result<End, i16> {
        let granter = self.granters.find(cur, name.domid)?.clone();
        let (what, pinned) = pin(&granter, name.u as grant_ref_t, cur.domain().id, write)?;
        let What::Other { domain, gref } = what else {
            return open_part(name, &granter, what, [Some(pinned), None], write);
        };
        // What a grant passes on is another domain's to the granter, and that domain lends a page itself.
        if domain == granter.id {
            return Err(GNTST_general_error);
        }
        let lender = self.granters.find(cur, domain)?.clone();
        let (passed, second) = pin(&lender, gref, granter.id, write)?;
        if let What::Other { .. } = passed {
            return Err(GNTST_general_error);
        }
        open_part(name, &lender, passed, [Some(second), Some(pinned)], write)
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
        let (source, dest) = (name(&op.source, GNTCOPY_source_gref), name(&op.dest, GNTCOPY_dest_gref));
        if self.source.as_ref().is_none_or(|end| end.name != source) {
            self.source = None;
            self.source = Some(self.open(cur, source, false)?);
        }
        if self.dest.as_ref().is_none_or(|end| end.name != dest) {
            self.dest = None;
            self.dest = Some(self.open(cur, dest, true)?);
        }
        match (&self.source, &self.dest) {
            (Some(source), Some(dest)) => copy_bytes((source, op.source.offset), (dest, op.dest.offset), op.len),
            _ => Err(GNTST_general_error),
        }
    }
}

/// Holds the page that a grant lends, or lends a part of.
fn open_part(name: Name, owner: &Domain, what: What, pins: [Option<Pinned>; 2], write: bool) -> Result<End, i16> {
    let (frame, first, end) = match what {
        What::Page { frame } => (frame, 0, PAGE_SIZE),
        What::Part { frame, offset, length } => (frame, offset.into(), u64::from(offset) + u64::from(length)),
        What::Other { .. } => return Err(GNTST_general_error),
    };
    let mfn = Mfn(frame.into());
    Ok(End {
        name,
        mfn,
        first,
        end: end.min(PAGE_SIZE),
        _held: hold(mfn, owner, write)?,
        _pins: pins,
    })
}

/// Copies `len` bytes, which are within a page each, as far as both ends are open for them.
fn copy_bytes((from, at): (&End, u16), (to, there): (&End, u16), len: u16) -> Result<(), i16> {
    let inside = |end: &End, offset: u64| end.first <= offset && offset + u64::from(len) <= end.end;
    let (at, there) = (u64::from(at), u64::from(there));
    if !inside(from, at) || !inside(to, there) {
        return Err(GNTST_general_error);
    }
    // SAFETY: both frames are RAM and held, the target as writable memory, so it is nobody's page table; both ranges
    // lie within their pages, and may overlap. Guests may change them meanwhile: bytes are bytes.
    unsafe {
        let source = mm::directmap(from.mfn.maddr() + at);
        mm::directmap(to.mfn.maddr() + there).copy_from(source, len.into());
    }
    Ok(())
}
