//! What the machine's memory looks like.

use super::super::{Outcome, Stop};
use crate::boot;
use crate::domain::{Domain, Vcpu};
use crate::event;
use crate::guest::GuestPtr;
use crate::irq;
use crate::mm::frame;
use crate::mm::layout::{M2P_RO, M2P_RO_END, PAGE_SIZE};
use crate::mm::{Mfn, m2p};
use xen_abi as abi;
use xen_abi::Errno;
use xen_logic::e820::Map;
use zerocopy::{Immutable, IntoBytes, KnownLayout};

/// `maximum_ram_page`: the last frame of RAM.
pub(super) fn maximum_ram_page() -> u64 {
    frame::limit().saturating_sub(1)
}

/// `maximum_gpfn`: the last guest frame number, as the guest itself says in its shared page.
pub(super) fn maximum_gpfn(domain: &Domain) -> Outcome {
    Ok(event::shared_max_pfn(domain).wrapping_sub(1))
}

/// `machphys_mapping`: where guests find the machine-to-physical table.
pub(super) fn machphys_mapping(at: u64) -> Outcome {
    let mapping = abi::xen_machphys_mapping {
        v_start: M2P_RO,
        v_end: M2P_RO_END,
        max_mfn: frame::limit() - 1,
    };
    GuestPtr::<abi::xen_machphys_mapping>::new(at).write(&mapping)?;
    Ok(0)
}

/// Bytes of the machine-to-physical table that one entry of the list stands for.
const EXTENT: u64 = 2 << 20;

/// `machphys_mfn_list`: the frames of the machine-to-physical table, which the privileged domain may map read-only.
pub(super) fn machphys_mfn_list(cur: &Vcpu, at: u64) -> Outcome {
    if !cur.domain().privileged {
        return Err(Errno::EPERM.into());
    }
    let argument = GuestPtr::<abi::xen_machphys_mfn_list>::new(at);
    let mut request = argument.read()?;
    let extents = (frame::limit() * 8).div_ceil(EXTENT);
    let count = extents.min(request.max_extents as u64);
    let list = GuestPtr::<u64>::new(request.extent_start);
    for n in 0..count {
        // As the interface has it, a gap is frame 0.
        let mfn = m2p::share_extent(n * EXTENT).map_or(0, |mfn| mfn.0);
        list.at(n).write(&mfn)?;
    }
    request.nr_extents = count as u32;
    argument.write(&request)?;
    Ok(0)
}

/// An entry as BIOSes and this interface have it.
#[derive(Clone, Copy, IntoBytes, Immutable, KnownLayout, zerocopy::FromBytes)]
#[repr(C, packed)]
struct E820Entry {
    addr: u64,
    size: u64,
    kind: u32,
}

/// `machine_memory_map`: the firmware's map, with device frames that the caller may not map as reserved.
pub(super) fn machine_memory_map(cur: &Vcpu, at: u64) -> Outcome {
    if !cur.domain().privileged {
        return Err(Errno::EPERM.into());
    }
    let argument = GuestPtr::<abi::xen_memory_map>::new(at);
    let mut request = argument.read()?;
    let map = with_denied(boot::memory_map(), cur.domain());
    let (room, list) = (request.nr_entries as usize, GuestPtr::<E820Entry>::new(request.buffer));
    if request.nr_entries < 1 {
        return Err(Stop::Errno(Errno::EINVAL));
    }
    let mut written = 0;
    for range in map.ranges().iter().take(room) {
        let entry = E820Entry {
            addr: range.start,
            size: range.end - range.start,
            kind: range.kind.0,
        };
        list.at(written).write(&entry)?;
        written += 1;
    }
    request.nr_entries = written as u32;
    argument.write(&request)?;
    Ok(0)
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
