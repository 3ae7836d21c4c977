//! What the machine's memory looks like.

use super::super::Outcome;
use crate::domain::{Domain, Vcpu};
use crate::event;
use crate::guest::GuestPtr;
use crate::mm::frame::{self, Mfn};
use crate::mm::layout::{M2P_RO, M2P_RO_END};
use crate::mm::m2p;
use xen_abi as abi;
use xen_abi::Errno;

/// `maximum_ram_page`: the last frame of RAM.
pub(super) fn maximum_ram_page() -> u64 {
    frame::limit().saturating_sub(1)
}

/// `maximum_gpfn`: the last guest frame number, as the guest itself says in its shared page; 0 where it says nothing yet.
pub(super) fn maximum_gpfn(domain: &Domain) -> Outcome {
    Ok(event::shared_max_pfn(domain).saturating_sub(1))
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
    let mut last = Mfn(0);
    for n in 0..count {
        // Tools map every extent: a gap is answered with the one before, as on Xen.
        last = m2p::share_extent(n * EXTENT).unwrap_or(last);
        list.at(n).write(&last.0)?;
    }
    request.nr_extents = count as u32;
    argument.write(&request)?;
    Ok(0)
}
