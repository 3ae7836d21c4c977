//! What the hypervisor reads and writes in a vcpu's `vcpu_info`, which the guest can change at any time.

use super::Vcpu;
use crate::arch::x86::regs::{UserRegs, vector};
use crate::trap;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use xen_abi::vcpu_info;

#[repr(C, align(64))]
struct Dummy([u64; 8]);

/// Stands in until the domain's shared page or a registered area takes over: no events, upcalls masked.
static mut DUMMY: Dummy = Dummy([0x0100, 0, 0, 0, 0, 0, 0, 0]);

/// The stand-in `vcpu_info`.
pub fn dummy_info() -> *mut vcpu_info {
    (&raw mut DUMMY).cast()
}

fn byte(cur: &Vcpu, offset: usize) -> &'static AtomicU8 {
    // SAFETY: `info` points into a page that the vcpu holds writable references to, or to the stand-in; it is
    // only ever accessed by atomics.
    unsafe { AtomicU8::from_ptr(cur.hot.info.load(Relaxed).cast::<u8>().add(offset)) }
}

/// `evtchn_upcall_mask` as the guest has it now.
#[inline]
pub fn upcall_mask(cur: &Vcpu) -> u8 {
    byte(cur, offset_of!(vcpu_info, evtchn_upcall_mask)).load(Relaxed)
}

/// Sets `evtchn_upcall_mask`.
#[inline]
pub fn set_upcall_mask(cur: &Vcpu, mask: u8) {
    byte(cur, offset_of!(vcpu_info, evtchn_upcall_mask)).store(mask, Relaxed);
}

/// The guest's CR2, which it reads from `vcpu_info.arch`.
#[inline]
fn cr2(cur: &Vcpu) -> &'static AtomicU64 {
    let info = cur.hot.info.load(Relaxed).cast::<u64>();
    // SAFETY: as in `byte`; the field is aligned, since `vcpu_info` is.
    unsafe { AtomicU64::from_ptr(info.add(offset_of!(vcpu_info, arch) / 8)) }
}

/// Sets the guest's CR2.
#[inline]
pub fn set_guest_cr2(cur: &Vcpu, addr: u64) {
    cr2(cur).store(addr, Relaxed);
}

/// The guest's CR2 as it stands.
pub fn guest_cr2(cur: &Vcpu) -> u64 {
    cr2(cur).load(Relaxed)
}

/// `VMASST_TYPE_architectural_iopl`: the guest sees its own IOPL in saved flags.
const ARCHITECTURAL_IOPL: u64 = 1 << 4;

/// Looks again whether `v`'s system calls may take the short way.
pub fn update_fast_paths(v: &Vcpu) {
    v.hot
        .update_fast_paths(v.domain().vm_assist.load(Relaxed) & ARCHITECTURAL_IOPL != 0);
}

/// The IOPL bits of a saved flags word.
#[inline]
pub fn visible_iopl(cur: &Vcpu) -> u64 {
    if cur.domain().vm_assist.load(Relaxed) & ARCHITECTURAL_IOPL == 0 {
        return 0;
    }
    (cur.cpu.iopl.load(Relaxed) as u64 & 3) << 12
}

/// Delivers a pending NMI, if the guest has a handler for it.
pub fn deliver_nmi(cur: &Vcpu, regs: &mut UserRegs) {
    if cur.hot.nmi_pending.swap(0, Relaxed) != 0 && cur.cpu.traps[vector::NMI as usize].address.load(Relaxed) != 0 {
        trap::deliver_trap(cur, regs, vector::NMI, None);
    }
}
