//! Bounce frames: how an exception, a system call or an event enters the guest kernel.
//!
//! On the guest kernel's stack, ascending: rcx, r11, [ds, es, fs, gs], [error code], rip, cs with the saved upcall
//! mask in its upper half, rflags, rsp, ss (`arch-x86/xen-x86_64.h`, Linux's `xen-asm.S`).

use crate::arch::x86::regs::{UserRegs, rflags, selector, vector};
use crate::arch::x86::segment;
use crate::domain::{self, Vcpu};
use crate::guest::GuestPtr;
use crate::trace;
use core::sync::atomic::Ordering::Relaxed;

/// `TI_GET_IF`: entering by this gate masks events.
const GATE_MASKS_EVENTS: u32 = 4;

/// What enters the guest kernel, and where.
pub struct Bounce {
    /// The handler's address.
    pub entry: u64,
    /// Are events masked on entry?
    pub mask_events: bool,
    /// The exception's error code, if it has one.
    pub error_code: Option<u32>,
    /// Are the data segment selectors pushed too (failsafe)?
    pub selectors: bool,
}

/// Changes between guest kernel and guest user: live GS base and address space.
///
/// The guest has an address space for the mode it changes to.
pub fn toggle_mode(cur: &Vcpu) {
    let to_kernel = cur.hot.kernel_mode.load(Relaxed) ^ 1;
    cur.hot.kernel_mode.store(to_kernel, Relaxed);
    segment::swapgs();
    let cr3 = if to_kernel != 0 {
        &cur.hot.kernel_cr3
    } else {
        &cur.hot.user_cr3
    };
    trace::count(trace::Counter::Cr3Loads);
    // SAFETY: both are validated L4 tables that the vcpu holds a reference to.
    unsafe { segment::write_cr3(cr3.load(Relaxed)) };
}

/// Makes `regs` enter the guest kernel as `b` says. Ends the domain if its kernel stack cannot take the frame.
pub fn bounce(cur: &Vcpu, regs: &mut UserRegs, b: &Bounce) {
    let from_kernel = cur.hot.kernel_mode.load(Relaxed) != 0;
    let mut sp = regs.rsp;
    if !from_kernel {
        toggle_mode(cur);
        sp = cur.hot.kernel_sp.load(Relaxed);
    }
    let mask = domain::upcall_mask(cur);
    let mut frame = [0u64; 12];
    let mut n = 0;
    let mut push = |word: u64| {
        frame[n] = word;
        n += 1;
    };
    push(regs.rcx);
    push(regs.r11);
    if b.selectors {
        for sel in [segment::ds(), segment::es(), segment::fs(), segment::gs()] {
            push(sel as u64);
        }
    }
    if let Some(code) = b.error_code {
        push(code as u64);
    }
    push(regs.rip);
    // The guest kernel tells its own frames from its user's by the privilege level, which is 3 for both.
    let cs = regs.cs & 0xffff & if from_kernel { !3 } else { !0 };
    push(cs | (mask as u64) << 32);
    let interrupts = if mask == 0 { rflags::IF } else { 0 };
    push(regs.rflags & !(rflags::IF | rflags::IOPL) | interrupts | domain::visible_iopl(cur));
    push(regs.rsp);
    push(regs.ss & 0xffff);

    let words = &frame[..n];
    let sp = (sp & !15).wrapping_sub(n as u64 * 8);
    if GuestPtr::<u64>::new(sp).write_slice(words).is_err() {
        log::error!(
            "bounce frame of vcpu {} does not fit its kernel stack at {sp:#x}",
            cur.id
        );
        return domain::crash_current(regs, "a fault while pushing a bounce frame");
    }
    if b.mask_events {
        domain::set_upcall_mask(cur, 1);
    }
    regs.rip = b.entry;
    regs.cs = selector::GUEST_CS64 as u64;
    regs.ss = selector::GUEST_SS as u64;
    regs.rsp = sp;
    regs.rflags &= !(rflags::TF | rflags::NT | rflags::RF | rflags::AC | rflags::VM | rflags::IOPL);
    // rcx and r11 are in the frame.
    regs.set_syscall_exit();
}

/// Delivers exception `v` to the guest kernel's trap table.
pub fn deliver_trap(cur: &Vcpu, regs: &mut UserRegs, v: u8, error_code: Option<u32>) {
    let gate = &cur.cpu.traps[v as usize];
    let entry = gate.address.load(Relaxed);
    if entry == 0 {
        log::error!(
            "vcpu {} has no handler for exception {v}, error code {:#x}",
            cur.id,
            error_code.unwrap_or(0)
        );
        return domain::crash_current(regs, "an exception without a handler");
    }
    trace::count(trace::Counter::Bounces);
    let mask_events = gate.flags.load(Relaxed) & GATE_MASKS_EVENTS != 0;
    bounce(
        cur,
        regs,
        &Bounce {
            entry,
            mask_events,
            error_code,
            selectors: false,
        },
    );
}

/// A system call of guest user space.
pub fn syscall(cur: &Vcpu, regs: &mut UserRegs) {
    let entry = cur.hot.syscall_callback.load(Relaxed);
    if entry == 0 {
        regs.rip = regs.rip.wrapping_sub(2);
        return deliver_trap(cur, regs, vector::UD, None);
    }
    let mask_events = cur.hot.syscall_masks_events.load(Relaxed) != 0;
    bounce(
        cur,
        regs,
        &Bounce {
            entry,
            mask_events,
            error_code: None,
            selectors: false,
        },
    );
}

/// Events are pending and not masked: the event callback, which masks them.
pub fn event(cur: &Vcpu, regs: &mut UserRegs) {
    let entry = cur.hot.event_callback.load(Relaxed);
    if entry == 0 {
        // Nothing to enter yet: the event stays pending.
        return;
    }
    bounce(
        cur,
        regs,
        &Bounce {
            entry,
            mask_events: true,
            error_code: None,
            selectors: false,
        },
    );
}

/// The context in `regs` could not be entered, or a data selector of it could not be loaded.
pub fn failsafe(cur: &Vcpu, regs: &mut UserRegs) {
    let entry = cur.hot.failsafe_callback.load(Relaxed);
    if entry == 0 {
        return domain::crash_current(regs, "a context that cannot be entered, and no failsafe callback");
    }
    log::debug!(
        "failsafe callback of vcpu {}: rip {:#x} cs {:#x} ss {:#x}",
        cur.id,
        regs.rip,
        regs.cs,
        regs.ss
    );
    let mask_events = cur.hot.failsafe_masks_events.load(Relaxed) != 0;
    bounce(
        cur,
        regs,
        &Bounce {
            entry,
            mask_events,
            error_code: None,
            selectors: true,
        },
    );
}
