//! Mapping other domains' grants.

use super::{Mapping, Unmapped};
use crate::domain::{self, Domain, Vcpu};
use crate::mm::frame::{self, Mfn, PageRef, Type, TypedRef};
use crate::mm::logdirty;
use crate::mm::pt::{self, Scope, Slot};
use crate::mm::typing::{self, Budget, Fail};
use crate::mm::update::{self, Mode};
use alloc::sync::Arc;
use xen_abi::*;
use xen_logic::grant::maptrack::{ByEntry, Lent};
use xen_logic::grant::{Ask, What};
use xen_logic::pte::Pte;

/// Present, accessed, dirty; the guest's kernel runs in ring 3, so user too.
const PTE_FLAGS: u64 = 0x65;
const PTE_WRITABLE: u64 = 1 << 1;
/// The three bits of an entry that are the guest's own.
const PTE_AVAILABLE: (u32, u64) = (9, 7);

/// What keeps a frame for a device.
pub(super) enum DeviceUse {
    Read { _page: PageRef },
    Write { _page: TypedRef },
}

/// The granters of a batch of requests, which mostly name one domain.
pub struct Granters {
    last: Option<Arc<Domain>>,
}

impl Granters {
    /// None has been asked for.
    pub const fn new() -> Self {
        Self { last: None }
    }

    /// The domain with this number, to be lent by. Not kept beyond a hypercall, whose continuation asks anew.
    ///
    /// # Errors
    /// `GNTST_bad_domain` where there is none, or it is at its end.
    pub(super) fn find(&mut self, cur: &Vcpu, id: domid_t) -> Result<&Arc<Domain>, i16> {
        let id = if id == DOMID_SELF { cur.domain().id } else { id };
        if self.last.as_ref().is_none_or(|last| last.id != id) {
            self.last = Some(domain::find_alive(id).map_err(|_| GNTST_bad_domain)?);
        }
        self.last.as_ref().ok_or(GNTST_bad_domain)
    }
}

/// The level-1 entry that a request names: by the address it maps, or by its own machine address.
pub(super) fn find_slot(address: u64, by_entry: bool) -> Result<Slot, i16> {
    if !by_entry {
        return pt::find_l1(address).ok_or(GNTST_bad_virt_addr);
    }
    let table = frame::info(Mfn(address >> 12))
        .filter(|_| address.is_multiple_of(8))
        .ok_or(GNTST_general_error)?;
    Ok(Slot {
        table,
        index: (address & 0xfff) as usize / 8,
    })
}

/// What an interrupted or refused change is answered with.
pub(super) const fn status_of(fail: Fail) -> i16 {
    match fail {
        Fail::Again => GNTST_eagain,
        Fail::Errno(_) => GNTST_general_error,
    }
}

/// Calls `change` with the entry, its table held as a level-1 table of `owner`.
///
/// # Errors
/// `GNTST_general_error` for what is no such table, `GNTST_eagain` where that takes long to find out; what `change` says.
pub(super) fn with_slot<R>(slot: Slot, owner: &Domain, change: impl FnOnce(Slot) -> Result<R, i16>) -> Result<R, i16> {
    let table = slot.table;
    if typing::acquire_valid(table.mfn(), Type::L1, owner).is_none() {
        // It may be a table that is being checked, or a page that was one and is another kind of table by half.
        typing::acquire(table, Type::L1, owner, false, &mut Budget::portion()).map_err(status_of)?;
    }
    let done = change(slot);
    // The last use of a level-1 table is one portion of work.
    typing::release(table, &mut Budget::unlimited());
    done
}

/// Changes an entry of the current vcpu's tables.
pub(super) fn change_slot(slot: Slot, new: Pte, mode: Mode, scope: &Scope) -> Result<(), i16> {
    with_slot(slot, scope.table, |slot| {
        update::update_l1(slot.word(), new, mode, scope).map_err(status_of)
    })
}

/// The entry for a mapping with these flags.
fn entry_for(mfn: Mfn, flags: u32) -> Pte {
    let (shift, mask) = PTE_AVAILABLE;
    let own = u64::from(flags >> _GNTMAP_guest_avail0) & mask;
    let write = if flags & GNTMAP_readonly == 0 { PTE_WRITABLE } else { 0 };
    Pte(mfn.maddr() | PTE_FLAGS | write | own << shift)
}

/// Carries out one `map_grant_ref`: fills in handle and bus address.
///
/// # Errors
/// `GNTST_*`.
pub fn map(cur: &'static Vcpu, granters: &mut Granters, op: &mut gnttab_map_grant_ref) -> Result<(), i16> {
    if op.flags & (GNTMAP_host_map | GNTMAP_device_map) == 0 {
        return Err(GNTST_bad_gntref);
    }
    let own = cur.domain();
    let granter = granters.find(cur, op.dom)?;
    let write = op.flags & GNTMAP_readonly == 0;
    // First, so that nothing has to be taken back from the page tables for want of a handle.
    let handle = own.grants.mappings.lock().reserve()?;
    let made = make(own, granter, op, write);
    let mut mappings = own.grants.mappings.lock();
    match made {
        Ok(mapping) => {
            op.dev_bus_addr = Mfn(mapping.frame().into()).maddr();
            mappings.fill(handle, mapping);
            op.handle = handle;
            Ok(())
        }
        Err(status) => {
            mappings.remove(handle);
            Err(status)
        }
    }
}

/// Begins a use of the grant and maps it.
fn make(own: &Domain, granter: &Arc<Domain>, op: &gnttab_map_grant_ref, write: bool) -> Result<Mapping, i16> {
    let ask = Ask {
        grantee: own.id,
        write,
        copy: false,
    };
    let what = granter.grants.pin(op.grant_ref, ask)?;
    // From here on an error drops this, which ends the use.
    let pinned = Unmapped::new(Lent {
        granter: granter.clone(),
        gref: op.grant_ref,
        write,
    });
    let What::Page { frame } = what else {
        return Err(GNTST_general_error);
    };
    let mfn = Mfn(frame.into());
    // Memory of the granter's only: a domain that may use device memory is not to be led to it by a grant.
    frame::info(mfn)
        .filter(|info| info.is_owned_by(granter))
        .ok_or(GNTST_general_error)?;
    if write && let Some(info) = frame::info(mfn) {
        // From here on to the end of the mapping it is found among the grants in use.
        logdirty::touched(info);
    }
    let device = match op.flags & GNTMAP_device_map != 0 {
        true => Some(hold_for_device(mfn, granter, write)?),
        false => None,
    };
    let mut host = None;
    if op.flags & GNTMAP_host_map != 0 {
        let by_entry = op.flags & GNTMAP_contains_pte != 0;
        let slot = find_slot(op.host_addr, by_entry)?;
        change_slot(
            slot,
            entry_for(mfn, op.flags),
            Mode::Replace,
            &Scope::foreign(own, granter),
        )?;
        host = Some(ByEntry(by_entry));
    }
    let lent = pinned.into_lent().ok_or(GNTST_general_error)?;
    Ok(Mapping::new(lent, frame, host, device))
}

fn hold_for_device(mfn: Mfn, granter: &Domain, write: bool) -> Result<DeviceUse, i16> {
    let held = match write {
        true => frame::get_page_type(mfn, granter, Type::Writable).map(|page| DeviceUse::Write { _page: page }),
        false => frame::get_page(mfn, granter).map(|page| DeviceUse::Read { _page: page }),
    };
    held.map_err(|errno| {
        status_of(if errno == Errno::EAGAIN {
            Fail::Again
        } else {
            Fail::Errno(errno)
        })
    })
}
