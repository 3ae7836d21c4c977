//! `memory_op`: how much memory a domain has, and which.
//!
//! Operations that go through lists are continued: the number of extents done stands in the command's upper bits.

mod exchange;
mod map;
mod query;
mod reservation;
mod resource;

use super::mmu_update::{DomainRef, living_domain, named_domain};
use super::{Outcome, Stop, not_built};
use crate::domain::Vcpu;
use crate::guest::GuestPtr;
use crate::mm::{alloc, pending};
use core::sync::atomic::Ordering::Relaxed;
use xen_abi as abi;
use xen_abi::Errno;

/// Where the number of extents done stands in the command.
const EXTENT_SHIFT: u32 = 6;
const COMMAND_MASK: u64 = (1 << EXTENT_SHIFT) - 1;

/// `memory_op(command, argument)`.
///
/// # Errors
/// By operation; `ENOSYS` for those that are not built.
pub fn memory_op(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    let (command, start, at) = (
        (args[0] & COMMAND_MASK) as u32,
        args[0] as u32 as u64 >> EXTENT_SHIFT,
        args[1],
    );
    match command {
        abi::XENMEM_increase_reservation | abi::XENMEM_decrease_reservation | abi::XENMEM_populate_physmap => {
            pending::finish_first(args)?;
            reservation::change(cur, command, start, args)
        }
        abi::XENMEM_exchange => {
            pending::finish_first(args)?;
            exchange::exchange(cur, args)
        }
        abi::XENMEM_maximum_ram_page => Ok(query::maximum_ram_page()),
        abi::XENMEM_current_reservation => Ok(asked_domain(cur, at)?.mm.tot_pages.load(Relaxed)),
        abi::XENMEM_maximum_reservation => Ok(asked_domain(cur, at)?.mm.max_pages.load(Relaxed)),
        abi::XENMEM_maximum_gpfn => query::maximum_gpfn(&*asked_domain(cur, at)?),
        abi::XENMEM_machphys_mapping => query::machphys_mapping(at),
        abi::XENMEM_machphys_mfn_list => query::machphys_mfn_list(cur, at),
        abi::XENMEM_machine_memory_map => map::machine_memory_map(cur, at),
        abi::XENMEM_memory_map => map::memory_map(cur, at),
        abi::XENMEM_set_memory_map => map::set_memory_map(cur, at),
        abi::XENMEM_reserved_device_memory_map => map::reserved_device_memory_map(at),
        abi::XENMEM_get_vnumainfo => map::get_vnumainfo(cur, at),
        abi::XENMEM_claim_pages => claim_pages(cur, at),
        abi::XENMEM_acquire_resource => resource::acquire_resource(cur, start, args),
        // There is no sharing between domains; tools take exactly this answer for zero pages.
        abi::XENMEM_get_sharing_freed_pages | abi::XENMEM_get_sharing_shared_pages => Err(Errno::ENOSYS.into()),
        // For translated guests only.
        abi::XENMEM_add_to_physmap | abi::XENMEM_add_to_physmap_batch | abi::XENMEM_remove_from_physmap => {
            Err(Errno::ENOSYS.into())
        }
        _ => Err(sub_not_built(command)),
    }
}

#[cold]
fn sub_not_built(command: u32) -> Stop {
    let name = match command {
        abi::XENMEM_set_pod_target => "set_pod_target",
        abi::XENMEM_get_pod_target => "get_pod_target",
        _ => "of an unknown number",
    };
    not_built(abi::__HYPERVISOR_memory_op, name)
}

/// `claim_pages`: sets free frames aside for a domain that is about to be built, or takes that back.
///
/// # Errors
/// `EPERM` for an unprivileged caller, `ESRCH`; `EINVAL` for extents of several frames; those of [`alloc::set_claim`].
fn claim_pages(cur: &Vcpu, at: u64) -> Outcome {
    let request = GuestPtr::<abi::xen_memory_reservation>::new(at).read()?;
    if !cur.domain().privileged {
        return Err(Errno::EPERM.into());
    }
    if request.extent_order != 0 {
        return Err(Errno::EINVAL.into());
    }
    let domain = living_domain(cur, request.domid)?;
    alloc::set_claim(&domain.mm, request.nr_extents)?;
    Ok(0)
}

/// The domain that a `xen_memory_domain` at `at` names.
fn asked_domain(cur: &Vcpu, at: u64) -> Result<DomainRef, Errno> {
    let id = GuestPtr::<u16>::new(at).read()?;
    named_domain(cur, id)
}

/// The same call again, with `done` extents done.
fn again(args: &[u64; 6], command: u32, done: u64) -> Stop {
    Stop::Again([
        command as u64 | done << EXTENT_SHIFT,
        args[1],
        args[2],
        args[3],
        args[4],
        args[5],
    ])
}
