//! Memory maps: the machine's, and those that toolstacks give to domains.

use super::super::Outcome;
use super::super::mmu_update::{living_domain, named_domain};
use crate::boot;
use crate::domain::{Domain, Vcpu};
use crate::guest::GuestPtr;
use crate::irq;
use crate::mm::Mfn;
use crate::mm::layout::PAGE_SIZE;
use crate::mm::memory_map::{E820Entry, MAX_ENTRIES};
use alloc::vec::Vec;
use core::mem::offset_of;
use xen_abi as abi;
use xen_abi::Errno;
use xen_logic::e820::Map;

/// Writes as many entries as the caller has room for, and says how many in the structure at `at`.
fn write_map(at: u64, entries: impl Iterator<Item = E820Entry>) -> Outcome {
    let argument = GuestPtr::<abi::xen_memory_map>::new(at);
    let mut request = argument.read()?;
    let (room, list) = (request.nr_entries as usize, GuestPtr::<E820Entry>::new(request.buffer));
    let mut written = 0;
    for entry in entries.take(room) {
        list.at(written).write(&entry)?;
        written += 1;
    }
    request.nr_entries = written as u32;
    argument.write(&request)?;
    Ok(0)
}

/// `memory_map`: the caller's map, if it has been given one.
///
/// # Errors
/// `ENOSYS` if not: it then takes its frames as one range; `EFAULT`.
pub(super) fn memory_map(cur: &Vcpu, at: u64) -> Outcome {
    let map = &cur.domain().mm.map;
    // Guest memory is not written to with the lock held.
    let entry = |index| map.lock().entry(index);
    if entry(0).is_none() {
        return Err(Errno::ENOSYS.into());
    }
    write_map(at, (0..).map_while(entry))
}

/// `set_memory_map`: gives a domain its map.
///
/// # Errors
/// `EINVAL` for too many entries, `EPERM`, `ESRCH`, `EFAULT`, `ENOMEM`.
pub(super) fn set_memory_map(cur: &'static Vcpu, at: u64) -> Outcome {
    let request = GuestPtr::<abi::xen_foreign_memory_map>::new(at).read()?;
    let (count, list) = (
        request.map.nr_entries as usize,
        GuestPtr::<E820Entry>::new(request.map.buffer),
    );
    if count > MAX_ENTRIES {
        return Err(Errno::EINVAL.into());
    }
    let domain = living_domain(cur, request.domid)?;
    let mut entries = Vec::new();
    entries.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
    for index in 0..count as u64 {
        entries.push(list.at(index).read()?);
    }
    let old = domain.mm.map.lock().replace(entries);
    drop(old);
    Ok(0)
}

/// `machine_memory_map`: the firmware's map, with device frames that the caller may not map as reserved.
///
/// # Errors
/// `EPERM`, `EFAULT`; `EINVAL` without room for an entry.
pub(super) fn machine_memory_map(cur: &Vcpu, at: u64) -> Outcome {
    if !cur.domain().privileged {
        return Err(Errno::EPERM.into());
    }
    if GuestPtr::<abi::xen_memory_map>::new(at).read()?.nr_entries < 1 {
        return Err(Errno::EINVAL.into());
    }
    let map = with_denied(boot::memory_map(), cur.domain());
    let entry = |range: &xen_logic::e820::Range| E820Entry {
        addr: range.start,
        size: range.end - range.start,
        kind: range.kind.0,
    };
    write_map(at, map.ranges().iter().map(entry))
}

/// Device addresses below this are looked at: local APICs and IO-APICs are there.
const DEVICES_END: u64 = 1 << 32;

fn with_denied(map: &Map, domain: &Domain) -> Map {
    let mut result = map.clone();
    irq::each_denied_iomem(domain, Mfn(0), Mfn(DEVICES_END / PAGE_SIZE - 1), |first, last| {
        let range = xen_logic::e820::Range {
            start: first.maddr(),
            end: last.maddr() + PAGE_SIZE,
            kind: xen_logic::e820::Kind::RESERVED,
        };
        result.insert(range);
    });
    result
}

/// `reserved_device_memory_map`: what devices need mapped one to one. Without an IOMMU there is nothing.
///
/// # Errors
/// `EINVAL` for unknown flags, `EFAULT`.
pub(super) fn reserved_device_memory_map(at: u64) -> Outcome {
    let argument = GuestPtr::<abi::xen_reserved_device_memory_map>::new(at);
    let request = argument.read()?;
    if request.flags & !abi::XENMEM_RDM_ALL != 0 {
        return Err(Errno::EINVAL.into());
    }
    let count = offset_of!(abi::xen_reserved_device_memory_map, nr_entries) as u64;
    GuestPtr::<u32>::new(at + count).write(&0)?;
    Ok(0)
}

/// `get_vnumainfo`: no domain is given virtual nodes.
///
/// # Errors
/// `EOPNOTSUPP` for a domain that may be asked about; `EPERM`, `ESRCH`, `EFAULT`.
pub(super) fn get_vnumainfo(cur: &Vcpu, at: u64) -> Outcome {
    let request = GuestPtr::<abi::xen_vnuma_topology_info>::new(at).read()?;
    if request.pad != 0 {
        return Err(Errno::EINVAL.into());
    }
    named_domain(cur, request.domid)?;
    Err(Errno::EOPNOTSUPP.into())
}
