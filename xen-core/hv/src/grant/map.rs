//! Mapping other domains' grants, and unmapping them.

use crate::domain::{self, Domain, Vcpu};
use crate::mm::frame::{self, Mfn, PageRef, Type, TypedRef};
use crate::mm::pt::{self, Scope, Slot};
use crate::mm::typing::{self, Budget};
use crate::mm::update::{self, Mode};
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use xen_abi::*;
use xen_logic::pte::Pte;

/// Most mappings of a domain.
const MAX_MAPPINGS: usize = 1 << 16;
/// Present, accessed, dirty; the guest's kernel runs in ring 3, so user too.
const PTE_FLAGS: u64 = 0x65;
const PTE_WRITABLE: u64 = 1 << 1;
/// The three bits of an entry that are the guest's own.
const PTE_AVAILABLE: (u32, u64) = (9, 7);

/// What keeps a frame for a device.
enum DeviceUse {
    Read { _page: PageRef },
    Write { _page: TypedRef },
}

/// A domain's mapping of a grant.
pub(super) struct Mapping {
    granter: Arc<Domain>,
    gref: grant_ref_t,
    write: bool,
    mfn: Mfn,
    /// Is it mapped for the CPU? By a machine address of the entry if `by_entry`.
    host: bool,
    by_entry: bool,
    device: Option<DeviceUse>,
}

/// A mapping whose entry is gone. Dropping it ends the grant's use, so the caller flushes before.
pub struct Unmapped {
    granter: Arc<Domain>,
    gref: grant_ref_t,
    write: bool,
}

impl Drop for Unmapped {
    fn drop(&mut self) {
        self.granter.grants.unpin(self.gref, self.write);
    }
}

/// The level-1 entry that a request names: by the address it maps, or by its own machine address.
fn find_slot(address: u64, by_entry: bool) -> Result<Slot, i16> {
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

/// Changes an entry of the current vcpu's tables, holding the table meanwhile.
fn change_slot(slot: Slot, new: Pte, mode: Mode, scope: &Scope) -> Result<(), i16> {
    let budget = &mut Budget::unlimited();
    typing::acquire(slot.table, Type::L1, scope.table, false, budget).map_err(|_| GNTST_general_error)?;
    let done = update::update_l1(slot.word(), new, mode, scope);
    typing::release(slot.table, budget);
    done.map(drop).map_err(|_| GNTST_general_error)
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
pub fn map(cur: &'static Vcpu, op: &mut gnttab_map_grant_ref) -> Result<(), i16> {
    if op.flags & (GNTMAP_host_map | GNTMAP_device_map) == 0 {
        return Err(GNTST_bad_gntref);
    }
    let own = cur.domain();
    let id = if op.dom == DOMID_SELF { own.id } else { op.dom };
    let granter = domain::find(id).filter(|d| !d.is_idle()).ok_or(GNTST_bad_domain)?;
    let write = op.flags & GNTMAP_readonly == 0;
    let mfn = granter.grants.pin(op.grant_ref, own.id, write)?;
    // From here on an error drops this, which ends the use.
    let pinned = Unmapped {
        granter: granter.clone(),
        gref: op.grant_ref,
        write,
    };
    let device = match op.flags & GNTMAP_device_map != 0 {
        true => Some(hold_for_device(mfn, &granter, write)?),
        false => None,
    };
    let host = op.flags & GNTMAP_host_map != 0;
    let by_entry = op.flags & GNTMAP_contains_pte != 0;
    let scope = Scope::foreign(own, &granter);
    let entry = entry_for(mfn, op.flags);
    if host {
        change_slot(find_slot(op.host_addr, by_entry)?, entry, Mode::Replace, &scope)?;
    }
    // Last, since another vcpu that guesses the handle may use it at once.
    let mapping = Mapping {
        granter: granter.clone(),
        gref: op.grant_ref,
        write,
        mfn,
        host,
        by_entry,
        device,
    };
    let handle = add_mapping(own, mapping).inspect_err(|_| {
        if host && let Ok(slot) = find_slot(op.host_addr, by_entry) {
            // Where the guest has changed the entry meanwhile, that has dropped what it held.
            let _ = change_slot(slot, Pte(0), Mode::IfEqual(entry.0), &scope);
        }
    })?;
    // The use is the mapping's now.
    core::mem::forget(pinned);
    op.handle = handle;
    op.dev_bus_addr = mfn.maddr();
    Ok(())
}

fn hold_for_device(mfn: Mfn, granter: &Domain, write: bool) -> Result<DeviceUse, i16> {
    let held = match write {
        true => frame::get_page_type(mfn, granter, Type::Writable).map(|page| DeviceUse::Write { _page: page }),
        false => frame::get_page(mfn, granter).map(|page| DeviceUse::Read { _page: page }),
    };
    held.map_err(|_| GNTST_general_error)
}

fn add_mapping(own: &Domain, mapping: Mapping) -> Result<grant_handle_t, i16> {
    let mut mappings = own.grants.mappings.lock();
    let free = mappings.iter().position(Option::is_none).unwrap_or(mappings.len());
    if free >= MAX_MAPPINGS {
        return Err(GNTST_no_device_space);
    }
    match mappings.get_mut(free) {
        Some(slot) => *slot = Some(mapping),
        None => {
            // Many mappings need much memory in one piece, which may not be there.
            mappings.try_reserve(1).map_err(|_| GNTST_no_device_space)?;
            mappings.push(Some(mapping));
        }
    }
    Ok(free as grant_handle_t)
}

/// Carries out one `unmap_grant_ref`; what it answers is dropped after the flush.
///
/// # Errors
/// `GNTST_*`.
pub fn unmap(cur: &'static Vcpu, op: &gnttab_unmap_grant_ref) -> Result<Option<Unmapped>, i16> {
    let own = cur.domain();
    let handle = op.handle as usize;
    let (granter, mfn, host, by_entry) = {
        let mappings = own.grants.mappings.lock();
        let mapping = mappings.get(handle).and_then(Option::as_ref).ok_or(GNTST_bad_handle)?;
        (mapping.granter.clone(), mapping.mfn, mapping.host, mapping.by_entry)
    };
    let unmap_host = host && op.host_addr != 0;
    if op.dev_bus_addr != 0 && op.dev_bus_addr >> 12 != mfn.0 {
        return Err(GNTST_general_error);
    }
    if unmap_host {
        let slot = find_slot(op.host_addr, by_entry)?;
        let old = Pte(slot.word().load(Relaxed));
        if !old.is_present() || old.mfn() != mfn.0 {
            return Err(GNTST_general_error);
        }
        change_slot(slot, Pte(0), Mode::IfEqual(old.0), &Scope::foreign(own, &granter))?;
    }
    let mut mappings = own.grants.mappings.lock();
    // Another vcpu may have been here meanwhile.
    let slot = mappings.get_mut(handle).ok_or(GNTST_bad_handle)?;
    let mapping = slot.as_mut().ok_or(GNTST_bad_handle)?;
    if unmap_host {
        mapping.host = false;
    }
    if op.dev_bus_addr != 0 {
        mapping.device = None;
    }
    if mapping.host || mapping.device.is_some() {
        return Ok(None);
    }
    let gone = slot.take();
    Ok(gone.map(|m| Unmapped {
        granter: m.granter,
        gref: m.gref,
        write: m.write,
    }))
}
