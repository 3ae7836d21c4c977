//! The small parts of a processor that a guest kernel sets by hypercall.

use super::Outcome;
use crate::arch::x86::segment;
use crate::domain::Vcpu;
use xen_abi::Errno;

/// `stack_switch(ss, sp)`: the stack for entries from user space. The selector is flat for every 64-bit guest.
///
/// # Errors
/// `EINVAL` for an address that is not canonical.
pub fn stack_switch(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    if !segment::is_canonical(args[1]) {
        return Err(Errno::EINVAL.into());
    }
    cur.hot.set_kernel_sp(args[1]);
    Ok(0)
}

/// `fpu_taskswitch(set)`: sets or clears CR0.TS.
pub fn fpu_taskswitch(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    cur.cpu.set_ts_live(args[0] & 1 != 0);
    Ok(0)
}

/// `set_debugreg(register, value)`.
///
/// # Errors
/// `EPERM` for a breakpoint on what is not the guest's, `EINVAL` for no such register.
pub fn set_debugreg(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    cur.cpu.set_debugreg(args[0] as u32 as u64, args[1], true)?;
    Ok(0)
}

/// `get_debugreg(register)`.
///
/// # Errors
/// `EINVAL` for no such register.
pub fn get_debugreg(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    Ok(cur.cpu.debugreg(args[0] as u32 as u64)?)
}

const FS: u64 = 0;
const GS_USER: u64 = 1;
const GS_KERNEL: u64 = 2;
const GS_USER_SELECTOR: u64 = 3;

/// `set_segment_base(which, base)`: the caller runs in kernel mode, so the kernel's GS base is the live one.
///
/// # Errors
/// `EINVAL` for a base that is not canonical or an unknown segment.
pub fn set_segment_base(_cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    let (which, base) = (args[0] as u32 as u64, args[1]);
    if which != GS_USER_SELECTOR && !segment::is_canonical(base) {
        return Err(Errno::EINVAL.into());
    }
    match which {
        FS => segment::set_fs_base(base),
        GS_USER => segment::set_shadow_gs_base(base),
        GS_KERNEL => segment::set_gs_base(base),
        GS_USER_SELECTOR => {
            // Loading the selector sets the live base: bring the user's in for that.
            segment::swapgs();
            segment::load_gs(base as u16 | if base & !3 & 0xffff != 0 { 3 } else { 0 });
            segment::swapgs();
        }
        _ => return Err(Errno::EINVAL.into()),
    }
    Ok(0)
}
