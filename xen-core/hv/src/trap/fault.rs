//! Exceptions that a guest raised: emulated for it, or delivered to its kernel.

use super::deliver_trap;
use super::emulate::{self, Emulated};
use crate::arch::x86::percpu::current;
use crate::arch::x86::regs::{UserRegs, vector};
use crate::arch::x86::segment;
use crate::domain::{self, Vcpu};
use crate::guest::GuestPtr;
use crate::mm::logdirty::{self, Fault};
use crate::trace;
use core::sync::atomic::Ordering::Relaxed;

/// Error code bits of `#PF` (Intel SDM volume 3, 4.7).
const PF_PRESENT: u32 = 1;
const PF_WRITE: u32 = 2;
const PF_USER: u32 = 4;
const PF_RESERVED: u32 = 8;
/// Low bits of a `#GP` error code that names a vector instead of a selector.
const IDT_ERROR: u32 = 2;
/// First byte of `int n`.
const INT_N: u8 = 0xcd;

fn in_kernel(cur: &Vcpu) -> bool {
    cur.hot.kernel_mode.load(Relaxed) != 0
}

/// `#PF`: a write to a read-only page table is emulated; the rest is the guest kernel's.
pub fn page_fault(cur: &'static Vcpu, regs: &mut UserRegs) {
    let addr = segment::read_cr2();
    trace::record(trace::Kind::PageFault, addr, regs.rip);
    let mut code = regs.error_code;
    if logdirty::any() {
        match logdirty::fault(cur, addr, code) {
            None => {}
            Some(Fault::Resolved) => return,
            // The CPU has looked at the shadows, which may lack what the guest has.
            Some(Fault::Guest { present }) => code = code & !PF_PRESENT | if present { PF_PRESENT } else { 0 },
            Some(Fault::NoMemory) => return domain::crash_current(regs, "no memory to track its writes"),
        }
    }
    let kernel = in_kernel(cur);
    if kernel && code & (PF_PRESENT | PF_WRITE | PF_RESERVED) == PF_PRESENT | PF_WRITE {
        match emulate::pte_write(cur, regs, addr) {
            Emulated::NotMine => {}
            done => return finish(cur, regs, done),
        }
    }
    deliver_page_fault(cur, regs, addr, code);
}

/// `#PF` in a copy from or to the current guest's memory; true where the copy can go on.
pub fn copy_fault(regs: &UserRegs) -> bool {
    logdirty::fault(current(), segment::read_cr2(), regs.error_code) == Some(Fault::Resolved)
}

/// Delivers `#PF`; the address goes first, since the guest reads it from memory.
fn deliver_page_fault(cur: &Vcpu, regs: &mut UserRegs, addr: u64, code: u32) {
    domain::set_guest_cr2(cur, addr);
    // The guest kernel runs in ring 3, but is no user.
    let code = if in_kernel(cur) { code & !PF_USER } else { code };
    deliver_trap(cur, regs, vector::PF, Some(code));
}

/// `#GP`: software interrupts, privileged instructions, or the guest's own fault.
pub fn general_protection(cur: &'static Vcpu, regs: &mut UserRegs) {
    let code = regs.error_code;
    if code & 3 == IDT_ERROR {
        // `int n` through a gate that is ours alone. The instruction is asked, not the error code: QEMU 7.2 gets
        // that wrong.
        if let Ok([INT_N, v]) = GuestPtr::<[u8; 2]>::new(regs.rip).read() {
            regs.rip = regs.rip.wrapping_add(2);
            return software_interrupt(cur, regs, v);
        }
    } else if code == 0 {
        match emulate::privileged(cur, regs) {
            Emulated::NotMine => {}
            done => return finish(cur, regs, done),
        }
    }
    deliver_trap(cur, regs, vector::GP, Some(code));
}

/// `int n`, of which rip is past the end: the guest's gate must allow it, as an IDT's must.
pub fn software_interrupt(cur: &Vcpu, regs: &mut UserRegs, v: u8) {
    let needed = if in_kernel(cur) { 1 } else { 3 };
    let gate = &cur.cpu.traps[v as usize];
    if gate.flags.load(Relaxed) & 3 >= needed && gate.address.load(Relaxed) != 0 {
        return deliver_trap(cur, regs, v, None);
    }
    regs.rip = regs.rip.wrapping_sub(2);
    deliver_trap(cur, regs, vector::GP, Some((v as u32) << 3 | IDT_ERROR));
}

/// `#UD`: the forced-emulation prefix, or the guest's own fault.
pub fn invalid_opcode(cur: &'static Vcpu, regs: &mut UserRegs) {
    match emulate::privileged(cur, regs) {
        Emulated::NotMine => deliver_trap(cur, regs, vector::UD, None),
        done => finish(cur, regs, done),
    }
}

/// `#NM`: the guest had set CR0.TS; it is told, and finds TS clear, as `fpu_taskswitch` promises.
pub fn device_not_available(cur: &Vcpu, regs: &mut UserRegs) {
    cur.cpu.set_ts_live(false);
    deliver_trap(cur, regs, vector::NM, None);
}

/// `#DB` from ring 3.
pub fn debug(cur: &Vcpu, regs: &mut UserRegs) {
    cur.cpu.note_debug_exception();
    deliver_trap(cur, regs, vector::DB, None);
}

/// Carries out what the emulator decided.
fn finish(cur: &Vcpu, regs: &mut UserRegs, outcome: Emulated) {
    match outcome {
        Emulated::Done | Emulated::NotMine => {}
        Emulated::Inject {
            vector: vector::PF,
            error_code,
            cr2,
        } => {
            deliver_page_fault(cur, regs, cr2.unwrap_or(0), error_code.unwrap_or(0));
        }
        Emulated::Inject { vector, error_code, .. } => deliver_trap(cur, regs, vector, error_code),
    }
}
