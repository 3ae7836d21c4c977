//! What the entry paths call: exceptions, interrupts, system calls, and the work before a guest runs again.
//!
//! A page fault enters at `entry.s: exception_entry`, comes to [`paravane_exception`], then to `fault::page_fault`.

mod bounce;
pub mod emulate;
mod fatal;
mod fault;
mod iret;
mod work;

pub use bounce::{deliver_trap, failsafe};
pub use fatal::show_registers;
pub use iret::iret;

use crate::arch::x86::extable;
use crate::arch::x86::percpu::current;
use crate::arch::x86::regs::{UserRegs, vector};
use crate::mm::logdirty;
use crate::trace;

/// Exceptions, from guests and from ourselves.
#[unsafe(no_mangle)]
extern "C" fn paravane_exception(regs: &mut UserRegs) {
    let v = regs.entry_vector as u8;
    if !regs.is_from_guest() {
        match extable::fixup(regs.rip) {
            Some(_) if v == vector::PF && logdirty::any() && fault::copy_fault(regs) => {}
            Some(fixup) => regs.rip = fixup,
            None => fatal::die(regs),
        }
        return;
    }
    let cur = current();
    trace::record(trace::Kind::Trap, v as u64, regs.rip);
    match v {
        vector::PF => fault::page_fault(cur, regs),
        vector::GP => fault::general_protection(cur, regs),
        vector::UD => fault::invalid_opcode(cur, regs),
        vector::NM => fault::device_not_available(cur, regs),
        vector::DB => fault::debug(cur, regs),
        vector::INT80 => fault::software_interrupt(cur, regs, v),
        _ => {
            let code = vector::has_error_code(v).then_some(regs.error_code);
            deliver_trap(cur, regs, v, code);
        }
    }
}

/// Device and inter-processor interrupts; they may come from a guest, from idle, or at a preemption point.
#[unsafe(no_mangle)]
extern "C" fn paravane_interrupt(regs: &mut UserRegs) {
    let v = regs.entry_vector as u8;
    trace::record(trace::Kind::Interrupt, v as u64, regs.rip);
    work::interrupt(v, regs);
}

/// Exceptions with stacks of their own that go back where they came from.
#[unsafe(no_mangle)]
extern "C" fn paravane_ist(regs: &mut UserRegs) {
    match regs.entry_vector as u8 {
        // In ring 0: a guest's breakpoint that `mov ss` held back, or one on memory that we copy. Not ours to tell.
        vector::DB => {}
        vector::NMI => fatal::nmi(regs),
        _ => fatal::die(regs),
    }
}

/// A `syscall` from guest user space: goes to the guest kernel.
#[unsafe(no_mangle)]
extern "C" fn paravane_user_syscall(regs: &mut UserRegs) {
    let cur = current();
    bounce::syscall(cur, regs);
}

/// The short way of a system call met a fault on the guest kernel's stack.
#[unsafe(no_mangle)]
extern "C" fn paravane_bounce_fault(regs: &mut UserRegs) {
    crate::domain::crash_current(regs, "a fault while pushing a system call's frame");
}

/// A `syscall` from 32-bit code, which only AMD processors have: refused, as by a CPU without it.
#[unsafe(no_mangle)]
extern "C" fn paravane_compat_syscall(regs: &mut UserRegs) {
    regs.rip = regs.rip.wrapping_sub(2);
    deliver_trap(current(), regs, vector::UD, None);
}

/// The exit `iret` was refused.
#[unsafe(no_mangle)]
extern "C" fn paravane_failsafe(regs: &mut UserRegs) {
    bounce::failsafe(current(), regs);
}
