//! A vcpu's context as guests and toolstacks write it down (`vcpu_guest_context`).

use super::{Domain, Vcpu};
use crate::arch::x86::regs::{rflags, selector};
use crate::arch::x86::segment;
use crate::guest::access_ok;
use crate::hypercall::Stop;
use crate::mm::frame::TypedRef;
use crate::mm::typing::Fail;
use crate::{mm, sched};
use core::sync::atomic::Ordering::{Relaxed, Release};
use xen_abi::*;
use zerocopy::FromZeros;

/// A guest address that may be jumped to or stored as a base.
fn is_guest_address(addr: u64) -> bool {
    segment::is_canonical(addr) && access_ok(addr, 1)
}

/// The frames of the tables that a context names: the kernel's, and the user's if there is one.
fn tables(c: &vcpu_guest_context) -> (u64, Option<u64>) {
    let user = (c.ctrlreg[1] != 0).then_some(c.ctrlreg[1] >> 12);
    (c.ctrlreg[3] >> 12, user)
}

/// Has the page tables of a first context checked, which may take long, and keeps them so until the answer is dropped.
///
/// # Errors
/// `Again` with `args`; `EINVAL` where they are no tables of the domain's.
pub fn hold_tables(domain: &Domain, c: &vcpu_guest_context, args: &[u64; 6]) -> Result<[Option<TypedRef>; 2], Stop> {
    let (kernel, user) = tables(c);
    mm::root::hold_tables(domain, kernel, user).map_err(|fail| match fail {
        Fail::Again => Stop::Again(*args),
        Fail::Errno(errno) => errno.into(),
    })
}

/// Gives a vcpu that does not run its first context, which a guest kernel or a toolstack made for it.
///
/// # Errors
/// `EINVAL` for values that a vcpu may not have, `EBUSY` and others from the page types. Where the tables have not been
/// checked before ([`hold_tables`]), that may take long.
pub fn vcpu_initialise(v: &'static Vcpu, c: &vcpu_guest_context) -> Result<(), Errno> {
    check(c)?;
    if c.gdt_ents > 14 * 512 || c.ldt_ents > 8192 {
        return Err(Errno::EINVAL);
    }
    mm::descriptor::set_gdt(v, &c.gdt_frames, c.gdt_ents as u32)?;
    let (kernel, user) = tables(c);
    mm::set_base_pointers(v, kernel, user)?;
    set_state(v, c);
    mm::descriptor::set_ldt(v, c.ldt_base, c.ldt_ents as u32)?;
    v.initialised.store(true, Release);
    Ok(())
}

/// Gives a vcpu that does not run, and is loaded nowhere, other registers than it has; its tables must be those that it
/// has.
///
/// # Errors
/// `EINVAL` for values that a vcpu may not have, `EOPNOTSUPP` for other tables.
pub fn vcpu_change(v: &'static Vcpu, c: &vcpu_guest_context) -> Result<(), Errno> {
    check(c)?;
    let (hot, cpu) = (&v.hot, &v.cpu);
    let used = (c.gdt_ents as usize).div_ceil(512).min(c.gdt_frames.len());
    let same_gdt = cpu.gdt_entries.load(Relaxed) as u64 == c.gdt_ents
        && cpu
            .gdt_frames
            .iter()
            .zip(&c.gdt_frames[..used])
            .all(|(have, wanted)| have.load(Relaxed) == *wanted);
    let same_ldt = cpu.ldt_entries.load(Relaxed) as u64 == c.ldt_ents
        && (c.ldt_ents == 0 || cpu.ldt_base.load(Relaxed) == c.ldt_base);
    let same_tables = hot.kernel_table.load(Relaxed) == c.ctrlreg[3] & !0xfff
        && hot.user_table.load(Relaxed) == c.ctrlreg[1] & !0xfff;
    if !(same_gdt && same_ldt && same_tables) {
        return Err(Errno::EOPNOTSUPP);
    }
    set_state(v, c);
    Ok(())
}

/// Looks at what could not be loaded, or entered.
fn check(c: &vcpu_guest_context) -> Result<(), Errno> {
    let bases = [c.fs_base, c.gs_base_kernel, c.gs_base_user, c.kernel_sp];
    let targets = [c.event_callback_eip, c.failsafe_callback_eip, c.syscall_callback_eip];
    if !bases.into_iter().all(segment::is_canonical) || !targets.into_iter().all(is_guest_address) {
        return Err(Errno::EINVAL);
    }
    if c.flags & VGCF_in_kernel == 0 && c.ctrlreg[1] == 0 {
        // It would begin in an address space that is not there.
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// Sets all that is no reference to the domain's memory.
fn set_state(v: &'static Vcpu, c: &vcpu_guest_context) {
    for (gate, t) in v.cpu.traps.iter().zip(&c.trap_ctxt) {
        let address = if is_guest_address(t.address) { t.address } else { 0 };
        gate.address.store(address, Relaxed);
        gate.flags.store(t.flags as u32, Relaxed);
    }
    let kernel = c.flags & VGCF_in_kernel != 0;
    let hot = &v.hot;
    hot.kernel_mode.store(kernel as u32, Relaxed);
    hot.set_kernel_sp(c.kernel_sp);
    hot.event_callback.store(c.event_callback_eip, Relaxed);
    hot.failsafe_callback.store(c.failsafe_callback_eip, Relaxed);
    hot.syscall_callback.store(c.syscall_callback_eip, Relaxed);
    hot.failsafe_masks_events
        .store((c.flags & VGCF_failsafe_disables_events != 0) as u32, Relaxed);
    hot.syscall_masks_events
        .store((c.flags & VGCF_syscall_disables_events != 0) as u32, Relaxed);
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
    if c.flags & VGCF_i387_valid != 0 {
        // SAFETY: no CPU runs the vcpu or holds its state.
        unsafe { v.cpu.fpu.set_legacy(&c.fpu_ctxt) };
    }
    set_registers(v, c);
}

fn set_registers(v: &Vcpu, c: &vcpu_guest_context) {
    let u = &c.user_regs;
    // SAFETY: no CPU runs the vcpu or holds its state.
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
    r.set_iret_exit();
}

/// Writes down the context of a vcpu that does not run and is loaded nowhere.
pub fn vcpu_describe(v: &Vcpu, c: &mut vcpu_guest_context) {
    c.zero();
    let (hot, cpu) = (&v.hot, &v.cpu);
    let kernel = hot.kernel_mode.load(Relaxed) != 0;
    for (set, flag) in [
        (true, VGCF_i387_valid),
        (kernel, VGCF_in_kernel),
        (!sched::is_down(v), VGCF_online),
        (
            hot.failsafe_masks_events.load(Relaxed) != 0,
            VGCF_failsafe_disables_events,
        ),
        (
            hot.syscall_masks_events.load(Relaxed) != 0,
            VGCF_syscall_disables_events,
        ),
    ] {
        c.flags |= if set { flag } else { 0 };
    }
    // SAFETY: no CPU runs the vcpu or holds its state.
    unsafe { cpu.fpu.legacy(&mut c.fpu_ctxt) };
    for (vector, (to, gate)) in c.trap_ctxt.iter_mut().zip(&cpu.traps).enumerate() {
        to.vector = vector as u8;
        to.flags = gate.flags.load(Relaxed) as u8;
        to.cs = selector::GUEST_CS64;
        to.address = gate.address.load(Relaxed);
    }
    for (to, frame) in c.gdt_frames.iter_mut().zip(&cpu.gdt_frames) {
        // No frame is all ones.
        *to = Some(frame.load(Relaxed)).filter(|mfn| *mfn != u64::MAX).unwrap_or(0);
    }
    c.gdt_ents = cpu.gdt_entries.load(Relaxed).into();
    c.ldt_base = cpu.ldt_base.load(Relaxed);
    c.ldt_ents = cpu.ldt_entries.load(Relaxed).into();
    c.kernel_ss = selector::GUEST_SS.into();
    c.kernel_sp = hot.kernel_sp.load(Relaxed);
    c.ctrlreg[0] = CR0_SHOWN | if cpu.ts() { CR0_TS } else { 0 };
    c.ctrlreg[1] = hot.user_table.load(Relaxed);
    c.ctrlreg[3] = hot.kernel_table.load(Relaxed);
    c.ctrlreg[4] = cpu.cr4.load(Relaxed);
    for n in [0, 1, 2, 3, 6, 7] {
        c.debugreg[n as usize] = cpu.debugreg(n).unwrap_or(0);
    }
    c.event_callback_eip = hot.event_callback.load(Relaxed);
    c.failsafe_callback_eip = hot.failsafe_callback.load(Relaxed);
    c.syscall_callback_eip = hot.syscall_callback.load(Relaxed);
    c.vm_assist = v.domain().vm_assist.load(Relaxed);
    c.fs_base = cpu.fs_base.load(Relaxed);
    let [live, shadow] = [0, 1].map(|n| cpu.gs_base[n].load(Relaxed));
    (c.gs_base_kernel, c.gs_base_user) = if kernel { (live, shadow) } else { (shadow, live) };
    describe_registers(v, &mut c.user_regs);
}

/// Protected mode, with paging and write protection.
const CR0_SHOWN: u64 = 0x8005_0033;
const CR0_TS: u64 = 8;

fn describe_registers(v: &Vcpu, u: &mut cpu_user_regs) {
    // SAFETY: no CPU runs the vcpu or holds its state.
    let r = unsafe { v.regs.get() };
    (u.r15, u.r14, u.r13, u.r12, u.rbp, u.rbx) = (r.r15, r.r14, r.r13, r.r12, r.rbp, r.rbx);
    (u.r11, u.r10, u.r9, u.r8, u.rax, u.rcx) = (r.r11, r.r10, r.r9, r.r8, r.rax, r.rcx);
    (u.rdx, u.rsi, u.rdi, u.rip, u.rsp) = (r.rdx, r.rsi, r.rdi, r.rip, r.rsp);
    u.cs = r.cs as u16;
    u.ss = r.ss as u16;
    u.rflags = r.rflags | (v.cpu.iopl.load(Relaxed) as u64 & 3) << 12;
    let selectors = v.cpu.selectors.each_ref().map(|s| s.load(Relaxed));
    [u.ds, u.es, u.fs, u.gs] = selectors;
}
