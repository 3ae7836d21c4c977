//! Whose tables and whose frames a memory hypercall is about.

use crate::domain::{self, Domain, Vcpu};
use crate::mm::frame::Owner;
use crate::mm::pt::Scope;
use alloc::sync::Arc;
use core::ops::Deref;
use xen_abi as abi;
use xen_abi::Errno;

/// The caller's domain, or another that is kept alive meanwhile.
pub enum DomainRef {
    /// The caller's.
    Own(&'static Domain),
    /// Another.
    Other(Arc<Domain>),
}

impl Deref for DomainRef {
    type Target = Domain;

    #[inline]
    fn deref(&self) -> &Domain {
        match self {
            DomainRef::Own(domain) => domain,
            DomainRef::Other(domain) => domain,
        }
    }
}

impl DomainRef {
    /// Is it the caller's own?
    #[inline]
    pub fn is_own(&self) -> bool {
        matches!(self, DomainRef::Own(_))
    }
}

/// The domain that a caller names: itself, or any other if the caller is privileged.
///
/// # Errors
/// `EPERM`, or `ESRCH` if there is no such domain.
#[inline]
pub fn named_domain(cur: &Vcpu, id: u16) -> Result<DomainRef, Errno> {
    let own = cur.domain();
    if id == abi::DOMID_SELF || id == own.id {
        return Ok(DomainRef::Own(own));
    }
    if !own.privileged {
        return Err(Errno::EPERM);
    }
    domain::find(id).map(DomainRef::Other).ok_or(Errno::ESRCH)
}

/// The domain that a caller names, as [`named_domain`], to give it something: it must not be dying, or what it gets
/// could come after it has been taken apart.
///
/// # Errors
/// `EPERM`, or `ESRCH` if there is no such domain, or it is dying.
#[inline]
pub fn living_domain(cur: &Vcpu, id: u16) -> Result<DomainRef, Errno> {
    match named_domain(cur, id)? {
        DomainRef::Other(domain) if domain.is_dying() => Err(Errno::ESRCH),
        domain => Ok(domain),
    }
}

/// Owners of tables and of frames.
pub(super) struct Parties {
    tables: DomainRef,
    frames: Frames,
}

enum Frames {
    Domain(DomainRef),
    Special(Owner),
}

impl Parties {
    /// Decodes the last argument: the owner of the frames below, that of the tables above (0: the caller).
    ///
    /// # Errors
    /// `EPERM` where the caller may not, or where a domain that has no rights over the frames' owner would get them
    /// into its tables; `ESRCH`, as on Xen also where the caller names itself by its number.
    #[inline]
    pub(super) fn find(cur: &'static Vcpu, word: u64) -> Result<Self, Errno> {
        let (frames, tables) = (word as u16, (word >> 16) as u16);
        let tables = match tables {
            0 => DomainRef::Own(cur.domain()),
            id => living_domain(cur, id - 1)?,
        };
        let frames = match frames {
            abi::DOMID_IO => Frames::Special(Owner::IO),
            abi::DOMID_XEN if cur.domain().privileged => Frames::Special(Owner::XEN),
            id if id == cur.domain().id => return Err(Errno::ESRCH),
            id => Frames::Domain(named_domain(cur, id)?),
        };
        let own_frames = matches!(&frames, Frames::Domain(domain) if domain.id == tables.id);
        if !tables.privileged && !own_frames && !matches!(frames, Frames::Special(Owner::IO)) {
            return Err(Errno::EPERM);
        }
        Ok(Self { tables, frames })
    }

    #[inline]
    pub(super) fn scope(&self) -> Scope<'_> {
        match &self.frames {
            Frames::Domain(frames) => Scope::foreign(&self.tables, frames),
            Frames::Special(owner) => Scope::special(&self.tables, *owner),
        }
    }
}
