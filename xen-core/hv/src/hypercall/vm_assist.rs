//! `vm_assist`: behaviours that a guest can switch.

use super::Outcome;
use crate::domain::{self, Vcpu};
use core::sync::atomic::Ordering::Relaxed;
use xen_abi::*;

/// The assists that a 64-bit PV guest may name.
pub(super) const VALID: u64 = 1 << VMASST_TYPE_4gb_segments
    | 1 << VMASST_TYPE_4gb_segments_notify
    | 1 << VMASST_TYPE_writable_pagetables
    | 1 << VMASST_TYPE_pae_extended_cr3
    | 1 << VMASST_TYPE_architectural_iopl
    | 1 << VMASST_TYPE_runstate_update_flag
    | 1 << VMASST_TYPE_m2p_strict;

/// The hypercall: command, type.
pub fn vm_assist(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    let (cmd, bit) = (args[0] as u32, args[1] as u32);
    let mask = 1u64.checked_shl(bit).unwrap_or(0);
    if mask & VALID == 0 {
        return Err(Errno::EINVAL.into());
    }
    let assists = &cur.domain().vm_assist;
    match cmd {
        VMASST_CMD_enable => assists.fetch_or(mask, Relaxed),
        VMASST_CMD_disable => assists.fetch_and(!mask, Relaxed),
        _ => return Err(Errno::ENOSYS.into()),
    };
    cur.domain().vcpus().for_each(domain::update_fast_paths);
    Ok(0)
}
