//! Giving a CPU to another vcpu.

use super::{Domain, Vcpu};
use crate::arch::x86::percpu::{self, guest_frame};
use crate::arch::x86::{gdt, mailbox, segment};
use crate::mm::{self, layout};
use crate::sync::spin_until;
use crate::{trace, trap};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

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

/// Makes sure that no CPU holds the state of `v`, which is held and has stopped: its registers are in `v.regs`.
pub fn unload_everywhere(v: &Vcpu) {
    loop {
        let holder = v.loaded_on.load(Acquire);
        if holder == NOWHERE {
            return;
        }
        if holder as usize == percpu::cpu_id() {
            // Another vcpu is current here, and has taken the CPU's state over; or none is.
            unload();
        } else {
            mailbox::unload_on(holder as usize);
        }
        spin_until(|| v.loaded_on.load(Acquire) != holder || !percpu::current().is_idle());
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
    mm::flush::note_guest();
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
    unload_if_idle();
}

/// As [`unload`]; true where this CPU has no guest's address space then.
pub fn unload_if_idle() -> bool {
    let idle = percpu::current().is_idle();
    if idle {
        give_up_loaded();
    }
    idle
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
