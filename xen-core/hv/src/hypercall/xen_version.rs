//! `xen_version`: what the guest runs on.

use super::Outcome;
use crate::domain::{Domain, Vcpu};
use crate::guest::{GuestPtr, Wire};
use crate::mm::layout::{HOLE_START, PAGE_SIZE};
use core::sync::atomic::Ordering::Relaxed;
use xen_abi::*;
use zerocopy::FromZeros;

/// 4.17, as `XENVER_version` answers it.
const VERSION: u64 = 4 << 16 | 17;
/// What follows the version in `xl info`.
const EXTRAVERSION: &str = ".0-paravane";
/// Kinds of guests: 64-bit PV.
const CAPABILITIES: &str = "xen-3.0-x86_64 ";
/// What a domain without privilege gets for what is none of its business.
const DENIED: &str = "<denied>";

/// `text` in a field of `N` bytes, ended by a zero.
pub(super) fn field<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    let len = text.len().min(N - 1);
    bytes[..len].copy_from_slice(&text.as_bytes()[..len]);
    bytes
}

/// Copies `value` to the guest and answers 0.
fn give<T: Wire>(to: u64, value: &T) -> Outcome {
    GuestPtr::new(to).write(value)?;
    Ok(0)
}

/// The feature bits of submap 0.
fn features(domain: &Domain) -> u32 {
    let mut bits = 1 << XENFEAT_mmu_pt_update_preserve_ad
        | 1 << XENFEAT_highmem_assist
        | 1 << XENFEAT_gnttab_map_avail_bits
        | 1 << XENFEAT_memory_op_vnode_supported;
    if domain.vm_assist.load(Relaxed) & 1 << VMASST_TYPE_pae_extended_cr3 != 0 {
        bits |= 1 << XENFEAT_pae_pgdir_above_4gb;
    }
    // As Xen says it of a PV domain with the machine: what it calls physical for devices, machine addresses, are its own.
    bits |= if domain.privileged {
        1 << XENFEAT_dom0 | 1 << XENFEAT_direct_mapped
    } else {
        1 << XENFEAT_not_direct_mapped
    };
    bits
}

/// The hypercall.
pub fn xen_version(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    let (cmd, arg) = (args[0] as u32, args[1]);
    let domain = cur.domain();
    // As on Xen, what runs is no secret; how it was started is.
    let may_know = |text: &'static str| if domain.privileged { text } else { DENIED };
    match cmd {
        // Also the guest's way to have its events looked at: any hypercall is.
        XENVER_version => Ok(VERSION),
        XENVER_extraversion => give(arg, &field::<XEN_EXTRAVERSION_LEN>(EXTRAVERSION)),
        XENVER_compile_info => {
            let mut info = xen_compile_info::new_zeroed();
            info.compiler = field("rustc 1.95.0");
            info.compile_by = field("paravane");
            info.compile_domain = field("localdomain");
            info.compile_date = field("-");
            give(arg, &info)
        }
        XENVER_capabilities => give(arg, &field::<XEN_CAPABILITIES_INFO_LEN>(CAPABILITIES)),
        XENVER_changeset => give(arg, &field::<XEN_CHANGESET_INFO_LEN>(env!("CARGO_PKG_VERSION"))),
        XENVER_platform_parameters => give(arg, &xen_platform_parameters { virt_start: HOLE_START }),
        XENVER_get_features => {
            let at = GuestPtr::<xen_feature_info>::new(arg);
            let mut info = at.read()?;
            if info.submap_idx != 0 {
                return Err(Errno::EINVAL.into());
            }
            info.submap = features(domain);
            at.write(&info)?;
            Ok(0)
        }
        XENVER_pagesize if arg == 0 => Ok(PAGE_SIZE),
        XENVER_pagesize => Err(Errno::EINVAL.into()),
        XENVER_guest_handle => {
            let handle = *domain.handle.lock();
            give(arg, &handle)
        }
        XENVER_commandline => give(
            arg,
            &field::<XEN_COMMANDLINE_LEN>(may_know(crate::boot::command_line())),
        ),
        XENVER_build_id => Err(Errno::ENODATA.into()),
        _ => Err(Errno::ENOSYS.into()),
    }
}
