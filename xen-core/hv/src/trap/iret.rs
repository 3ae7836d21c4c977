//! The iret hypercall: how a guest kernel returns to its user space, or to itself.

use super::bounce::toggle_mode;
use crate::arch::x86::entry::USER_FLAGS;
use crate::arch::x86::regs::{UserRegs, rflags, selector};
use crate::domain::{self, Vcpu};
use crate::guest::GuestPtr;
use core::sync::atomic::Ordering::Relaxed;
use xen_abi::iret_context;

/// `VGCF_in_syscall`: rcx and r11 need not be restored.
const IN_SYSCALL: u64 = 1 << 8;

/// Loads the context on top of the guest kernel's stack (`struct iret_context`). The upcall mask follows its
/// IF; whether events are then pending is looked at on the way out.
pub fn iret(cur: &Vcpu, regs: &mut UserRegs) {
    let Ok(frame) = GuestPtr::<iret_context>::new(regs.rsp).read() else {
        return domain::crash_current(regs, "no readable frame for the iret hypercall");
    };
    if frame.cs & 3 == 3 {
        if cur.hot.user_cr3.load(Relaxed) == 0 {
            return domain::crash_current(regs, "a return to user mode without a user page table");
        }
        toggle_mode(cur);
    }
    regs.rip = frame.rip;
    regs.cs = frame.cs & 0xffff | 3;
    regs.rflags = frame.rflags & USER_FLAGS | rflags::IF | rflags::FIXED;
    regs.rsp = frame.rsp;
    regs.ss = frame.ss & 0xffff | 3;
    regs.rax = frame.rax;
    let flat = regs.cs == selector::GUEST_CS64 as u64 && regs.ss == selector::GUEST_SS as u64;
    if frame.flags & IN_SYSCALL != 0 && flat {
        regs.set_syscall_exit();
    } else {
        regs.rcx = frame.rcx;
        regs.r11 = frame.r11;
        regs.set_iret_exit();
    }
    domain::set_upcall_mask(cur, (frame.rflags & rflags::IF == 0) as u8);
}
