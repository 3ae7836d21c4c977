//! Unmapping grants.

use super::map::{find_slot, with_slot};
use super::{Mapping, map};
use crate::domain::{Domain, Vcpu};
use crate::mm::pt::Slot;
use crate::mm::update;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::Relaxed;
use xen_abi::*;
use xen_logic::grant::maptrack::{Leaving, Lent};
use xen_logic::pte::Pte;

/// A use of a grant, of which nothing is mapped. Dropping it ends the use, so whoever had it mapped flushes before.
pub struct Unmapped(Option<Lent<Arc<Domain>>>);

impl Unmapped {
    pub(super) const fn new(lent: Lent<Arc<Domain>>) -> Self {
        Self(Some(lent))
    }

    /// Keeps the use, for a mapping.
    pub(super) fn into_lent(mut self) -> Option<Lent<Arc<Domain>>> {
        self.0.take()
    }
}

impl Drop for Unmapped {
    fn drop(&mut self) {
        if let Some(lent) = &self.0 {
            lent.granter.grants.unpin(lent.gref, lent.write);
        }
    }
}

/// The entry that a mapping leaves, as it stands: it must map the mapping's frame, with the mapping's right to write.
/// A domain that names another mapping's entry ends up with fewer entries than mappings, never with more.
pub(super) fn expected(slot: Slot, leaving: Leaving) -> Result<Pte, i16> {
    let old = Pte(slot.word().load(Relaxed));
    if old.is_present() && old.mfn() == leaving.frame as u64 && old.is_writable() == leaving.write {
        Ok(old)
    } else {
        Err(GNTST_general_error)
    }
}

/// How often an entry is looked at whose accessed and dirty bits the CPU sets meanwhile.
const TRIES: u32 = 8;

/// Empties the entry that a mapping leaves.
fn clear(own: &Domain, address: u64, leaving: Leaving) -> Result<(), i16> {
    let slot = find_slot(address, leaving.by_entry)?;
    with_slot(slot, own, |slot| {
        for _ in 0..TRIES {
            let old = expected(slot, leaving)?;
            if update::clear_l1(slot.word(), old, own).is_ok() {
                return Ok(());
            }
        }
        Err(GNTST_general_error)
    })
}

/// What was mapped, where the mapping is over.
pub(super) fn over(mapping: Option<Mapping>) -> Option<Unmapped> {
    let (lent, _device) = mapping?.into_parts();
    Some(Unmapped::new(lent))
}

/// Carries out one `unmap_grant_ref`; what it answers is dropped after the flush.
///
/// # Errors
/// `GNTST_*`.
pub fn unmap(cur: &'static Vcpu, op: &gnttab_unmap_grant_ref) -> Result<Option<Unmapped>, i16> {
    let own = cur.domain();
    let device = Some(op.dev_bus_addr >> 12).filter(|_| op.dev_bus_addr != 0);
    let begun = own.grants.mappings.lock().begin(op.handle, op.host_addr != 0, device)?;
    let (leaving, _device): (_, Option<map::DeviceUse>) = begun;
    let cleared = match leaving {
        Some(leaving) => clear(own, op.host_addr, leaving),
        None => Ok(()),
    };
    let gone = own.grants.mappings.lock().finish(op.handle, cleared.is_ok());
    cleared.map(|()| over(gone))
}
