//! `unmap_and_replace`: a mapping's entry takes over what another entry maps.

use super::Unmapped;
use super::map::{find_slot, with_slot};
use super::unmap::{expected, over};
use crate::domain::{Domain, Vcpu};
use crate::mm::pt;
use crate::mm::update;
use xen_abi::*;
use xen_logic::grant::maptrack::Leaving;

/// Carries out one `unmap_and_replace`; what it answers is dropped after the flush. Without a second address it is an
/// unmapping.
///
/// # Errors
/// `GNTST_*`.
pub fn unmap_and_replace(cur: &'static Vcpu, op: &gnttab_unmap_and_replace) -> Result<Option<Unmapped>, i16> {
    if op.new_addr == 0 {
        let plain = gnttab_unmap_grant_ref {
            host_addr: op.host_addr,
            dev_bus_addr: 0,
            handle: op.handle,
            status: 0,
            _pad: 0,
        };
        return super::unmap(cur, &plain);
    }
    let own = cur.domain();
    let (leaving, _device) = own.grants.mappings.lock().begin(op.handle, true, None)?;
    let replaced = match leaving {
        Some(leaving) => replace(own, op, leaving),
        None => Err(GNTST_general_error),
    };
    let gone = own.grants.mappings.lock().finish(op.handle, replaced.is_ok());
    replaced.map(|()| over(gone))
}

/// Moves the entry of `new_addr` to where the mapping's is, and drops what that held.
fn replace(own: &Domain, op: &gnttab_unmap_and_replace, leaving: Leaving) -> Result<(), i16> {
    if leaving.by_entry {
        return Err(GNTST_general_error);
    }
    let target = find_slot(op.host_addr, false)?;
    let source = pt::find_l1(op.new_addr).ok_or(GNTST_bad_virt_addr)?;
    if core::ptr::eq(source.word(), target.word()) {
        return Err(GNTST_general_error);
    }
    with_slot(target, own, |target| {
        with_slot(source, own, |source| {
            let old = expected(target, leaving)?;
            update::move_l1(source.word(), target.word(), old, own).map_err(|_| GNTST_general_error)
        })
    })
}
