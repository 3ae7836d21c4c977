//! Giving a CPU to another vcpu, and giving a vcpu its first context.

use super::{Domain, Vcpu};
use crate::arch::x86::percpu::{self, guest_frame};
use crate::arch::x86::regs::{rflags, selector};
use crate::arch::x86::{gdt, mailbox, segment};
use crate::guest::access_ok;
use crate::mm::{self, layout};
use crate::sync::spin_until;
use crate::{trace, trap};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use xen_abi::{Errno, vcpu_guest_context};

const NOWHERE: u32 = u32::MAX;

/// Makes `next` the vcpu of this CPU; interrupts are off, and the caller owns it and the one before.
///
/// The idle vcpu needs no state, so that of the vcpu before stays on the CPU while that idles, its registers in the
/// frame included, and costs nothing if that vcpu comes back. If it comes back on another CPU, that one asks for it
/// with [`unload`].
pub fn switch_to(next: &'static Vcpu) {
    let info = percpu::info();
    info.current.store(core::ptr::from_ref(next).cast_mut(), Relaxed);
    if next.is_idle() {
        return;
    }
    if core::ptr::eq(info.loaded.load(Relaxed), next) {
        return;
    }
    let here = info.cpu;
    if next.loaded_on.load(Acquire) != NOWHERE {
        // Two CPUs may each hold what the other waits for, as after two vcpus were pinned crosswise: so this one
        // keeps nothing while it waits. That it is not idle any more would make it deaf to `unload`.
        give_up_loaded();
        fetch(next);
    }
    let left = drop_loaded();
    let selectors_ok = load(next, here);
    if let Some(left) = left.filter(|d| !core::ptr::eq(*d, next.domain())) {
        // Loading CR3 has dropped the other domain's translations.
        left.dirty_cpus.fetch_and(!(1 << here), Release);
    }
    // SAFETY: `next` is now current here; its saved registers belong to this CPU.
    unsafe { *guest_frame() = *next.regs.get() };
    if !selectors_ok {
        // SAFETY: the frame at the top of the stack is the current vcpu's, and no other reference to it is alive.
        trap::failsafe(next, unsafe { &mut *guest_frame() });
    }
}

/// Waits until no other CPU holds `next`'s state.
fn fetch(next: &Vcpu) {
    let holder = next.loaded_on.load(Acquire);
    if holder != NOWHERE {
        mailbox::unload_on(holder as usize);
        spin_until(|| next.loaded_on.load(Acquire) == NOWHERE);
    }
}

/// Saves the state that this CPU holds for a vcpu, and lets the vcpu go; returns its domain.
fn drop_loaded() -> Option<&'static Domain> {
    let held = percpu::info().loaded.swap(core::ptr::null_mut(), Relaxed);
    // SAFETY: null, or a vcpu that cannot be freed while a CPU holds its state.
    let held: &'static Vcpu = unsafe { held.as_ref() }?;
    let domain = held.domain();
    // SAFETY: `held` was the last guest to run here, so the frame at the top of the main stack is its registers; until
    // `loaded_on` says otherwise, nobody else touches its saved ones.
    unsafe { *held.regs.get() = *guest_frame() };
    held.cpu.save();
    held.loaded_on.store(NOWHERE, Release);
    Some(domain)
}

/// Takes `next`'s state: address space, descriptor tables, segments, FPU. False where a selector was refused.
fn load(next: &'static Vcpu, here: u32) -> bool {
    let domain = next.domain();
    domain.mark_dirty(here as usize);
    domain.perdomain.map_reserved_page(next.id, here as usize);
    let cr3 = if next.hot.kernel_mode.load(Relaxed) != 0 {
        &next.hot.kernel_cr3
    } else {
        &next.hot.user_cr3
    };
    trace::count(trace::Counter::Cr3Loads);
    // SAFETY: a validated L4 table that the vcpu holds a reference to; the window has this CPU's reserved page.
    unsafe {
        segment::write_cr3(cr3.load(Relaxed));
        gdt::load(layout::gdt_window(next.id));
    }
    gdt::set_ldt(
        here as usize,
        layout::ldt_window(next.id),
        next.cpu.ldt_entries.load(Relaxed),
    );
    percpu::info()
        .loaded
        .store(core::ptr::from_ref(next).cast_mut(), Relaxed);
    next.loaded_on.store(here, Release);
    next.cpu.load()
}

/// Gives up the state that this CPU holds for a vcpu it does not run: another CPU wants it, or it ends.
/// Does nothing while a guest is current.
pub fn unload() {
    if percpu::current().is_idle() {
        give_up_loaded();
    }
}

/// Saves the state that this CPU holds, if it holds any, and goes to the idle address space.
fn give_up_loaded() {
    let info = percpu::info();
    if info.loaded.load(Relaxed).is_null() {
        return;
    }
    // SAFETY: the idle table has the hypervisor's slots and lives for ever; the reserved page alone is a GDT too.
    unsafe {
        segment::lldt(0);
        gdt::load(gdt::reserved_page(info.cpu as usize) - gdt::FIRST_RESERVED_PAGE * layout::PAGE_SIZE);
        segment::write_cr3(mm::paging::idle_l4().maddr());
    }
    if let Some(domain) = drop_loaded() {
        domain.dirty_cpus.fetch_and(!(1 << info.cpu), Release);
    }
}

/// A guest address that may be jumped to or stored as a base.
fn is_guest_address(addr: u64) -> bool {
    segment::is_canonical(addr) && access_ok(addr, 1)
}

/// `VGCF_*` (`arch-x86/xen.h`).
const IN_KERNEL: u64 = 1 << 2;
const FAILSAFE_DISABLES_EVENTS: u64 = 1 << 3;
const SYSCALL_DISABLES_EVENTS: u64 = 1 << 4;

/// Gives a vcpu that does not run the context a guest kernel or a toolstack made for it.
///
/// # Errors
/// `EINVAL` for values that a vcpu may not have, `EBUSY` and others from the page types.
pub fn vcpu_initialise(v: &'static Vcpu, c: &vcpu_guest_context) -> Result<(), Errno> {
    let bases = [c.fs_base, c.gs_base_kernel, c.gs_base_user, c.kernel_sp];
    let targets = [c.event_callback_eip, c.failsafe_callback_eip, c.syscall_callback_eip];
    if !bases.into_iter().all(segment::is_canonical) || !targets.into_iter().all(is_guest_address) {
        return Err(Errno::EINVAL);
    }
    if c.gdt_ents > 14 * 512 || c.ldt_ents > 8192 {
        return Err(Errno::EINVAL);
    }
    let kernel = c.flags & IN_KERNEL != 0;
    if !kernel && c.ctrlreg[1] == 0 {
        // It would begin in an address space that is not there.
        return Err(Errno::EINVAL);
    }
    mm::descriptor::set_gdt(v, &c.gdt_frames, c.gdt_ents as u32)?;
    let user_cr3 = if c.ctrlreg[1] == 0 {
        None
    } else {
        Some(c.ctrlreg[1] >> 12)
    };
    mm::set_base_pointers(v, c.ctrlreg[3] >> 12, user_cr3)?;

    for (gate, t) in v.cpu.traps.iter().zip(&c.trap_ctxt) {
        let address = if is_guest_address(t.address) { t.address } else { 0 };
        gate.address.store(address, Relaxed);
        gate.flags.store(t.flags as u32, Relaxed);
    }
    let hot = &v.hot;
    hot.kernel_mode.store(kernel as u32, Relaxed);
    hot.set_kernel_sp(c.kernel_sp);
    hot.event_callback.store(c.event_callback_eip, Relaxed);
    hot.failsafe_callback.store(c.failsafe_callback_eip, Relaxed);
    hot.syscall_callback.store(c.syscall_callback_eip, Relaxed);
    hot.failsafe_masks_events
        .store((c.flags & FAILSAFE_DISABLES_EVENTS != 0) as u32, Relaxed);
    hot.syscall_masks_events
        .store((c.flags & SYSCALL_DISABLES_EVENTS != 0) as u32, Relaxed);
    super::update_fast_paths(v);
    let u = &c.user_regs;
    v.cpu.set_segments(
        [u.ds, u.es, u.fs, u.gs],
        c.fs_base,
        c.gs_base_kernel,
        c.gs_base_user,
        kernel,
    );
    for n in [0, 1, 2, 3, 6, 7] {
        // A value that a vcpu may not have is dropped, as on Xen.
        let _ = v.cpu.set_debugreg(n, c.debugreg[n as usize], false);
    }
    set_registers(v, c);
    mm::descriptor::set_ldt(v, c.ldt_base, c.ldt_ents as u32)?;
    v.initialised.store(true, Release);
    Ok(())
}

fn set_registers(v: &Vcpu, c: &vcpu_guest_context) {
    let u = &c.user_regs;
    // SAFETY: the vcpu is not initialised yet, so no CPU runs it.
    let r = unsafe { v.regs.get() };
    (r.r15, r.r14, r.r13, r.r12, r.rbp, r.rbx) = (u.r15, u.r14, u.r13, u.r12, u.rbp, u.rbx);
    (r.r11, r.r10, r.r9, r.r8, r.rax, r.rcx) = (u.r11, u.r10, u.r9, u.r8, u.rax, u.rcx);
    (r.rdx, r.rsi, r.rdi, r.rip, r.rsp) = (u.rdx, u.rsi, u.rdi, u.rip, u.rsp);
    // The guest names ring 0 selectors or none; it runs in ring 3 with interrupts on in hardware.
    r.cs = if u.cs & !3 == 0x10 || u.cs == 0 {
        selector::GUEST_CS64 as u64
    } else {
        u.cs as u64 | 3
    };
    r.ss = if u.ss & !3 == 0x18 || u.ss == 0 {
        selector::GUEST_SS as u64
    } else {
        u.ss as u64 | 3
    };
    r.rflags =
        u.rflags & !(rflags::IOPL | rflags::VM | rflags::VIF | rflags::VIP) & 0x3f_ffff | rflags::IF | rflags::FIXED;
    v.cpu.iopl.store((u.rflags >> 12) as u32 & 3, Relaxed);
    super::set_upcall_mask(v, (u.rflags & rflags::IF == 0) as u8);
    r.set_iret_exit();
}
