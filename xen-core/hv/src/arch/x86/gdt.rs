//! Each CPU's reserved descriptor page and task state segment.
//!
//! A GDT of 15 pages: the first 14 are the guest's, the last is this CPU's reserved page, mapped into the window of
//! the vcpu that runs (`FIRST_RESERVED_GDT_PAGE` of `arch-x86/xen.h`).

use super::percpu::{IST_DB, IST_DF, IST_MC, IST_NMI, ist_top, stack_top};
use super::regs::selector;
use crate::mm::layout::{NR_CPUS, PAGE_SIZE};
use core::arch::asm;

/// First of the reserved pages of a GDT.
pub const FIRST_RESERVED_PAGE: u64 = 14;
/// Last byte of a GDT with its reserved page.
pub const LIMIT: u16 = ((FIRST_RESERVED_PAGE + 1) * PAGE_SIZE - 1) as u16;

/// First entry that belongs to the hypervisor.
pub const FIRST_RESERVED_ENTRY: u64 = FIRST_RESERVED_PAGE * PAGE_SIZE / 8;

#[repr(C, align(4096))]
#[derive(Clone, Copy)]
struct Page([u64; 512]);

/// 64-bit task state segment (Intel SDM volume 3, 8.7).
#[repr(C, packed(4))]
#[derive(Clone, Copy)]
struct Tss {
    reserved: u32,
    rsp: [u64; 3],
    reserved1: u64,
    ist: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    iomap: u16,
}

#[repr(C, align(128))]
struct Slot(Tss);

static mut PAGES: [Page; NR_CPUS] = [const { Page([0; 512]) }; NR_CPUS];
static mut TSS: [Slot; NR_CPUS] = [const {
    Slot(Tss {
        reserved: 0,
        rsp: [0; 3],
        reserved1: 0,
        ist: [0; 7],
        reserved2: 0,
        reserved3: 0,
        iomap: 0,
    })
}; NR_CPUS];

#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

const fn index(sel: u16) -> usize {
    sel as usize % PAGE_SIZE as usize / 8
}

/// A 64-bit system descriptor: TSS or LDT.
fn system(base: u64, limit: u32, kind: u64) -> [u64; 2] {
    let low = (limit as u64 & 0xffff)
        | (base & 0xff_ffff) << 16
        | kind << 40
        | 1 << 47
        | (limit as u64 >> 16 & 0xf) << 48
        | (base >> 24 & 0xff) << 56;
    [low, base >> 32]
}

/// The reserved page of CPU `cpu`, as a hypervisor address.
pub fn reserved_page(cpu: usize) -> u64 {
    (&raw const PAGES) as u64 + cpu as u64 * PAGE_SIZE
}

/// Fills CPU `cpu`'s descriptors and loads them; runs on that CPU, on its own stack area or the boot stack.
pub fn init_cpu(cpu: usize) {
    let tss = {
        // SAFETY: only this CPU writes its slot, here, before the TSS is loaded.
        let t = unsafe { &mut *(&raw mut TSS[cpu].0) };
        t.rsp[0] = stack_top(cpu);
        t.iomap = size_of::<Tss>() as u16;
        for ist in [IST_DF, IST_NMI, IST_MC, IST_DB] {
            t.ist[ist as usize - 1] = ist_top(cpu, ist);
        }
        core::ptr::from_ref(t) as u64
    };
    // SAFETY: only this CPU writes its page, here and in `set_ldt`.
    let page = unsafe { &mut *(&raw mut PAGES[cpu].0) };
    page[index(selector::HV_CS)] = 0x00af_9b00_0000_ffff;
    page[index(selector::HV_SS)] = 0x00cf_9300_0000_ffff;
    page[index(selector::GUEST_CS32)] = 0x00cf_fb00_0000_ffff;
    page[index(selector::GUEST_SS)] = 0x00cf_f300_0000_ffff;
    page[index(selector::GUEST_CS64)] = 0x00af_fb00_0000_ffff;
    let desc = system(tss, size_of::<Tss>() as u32 - 1, 9);
    page[index(selector::TSS)] = desc[0];
    page[index(selector::TSS) + 1] = desc[1];
    // A guest may find its CPU's number by the limit of this one, as on Xen.
    page[index(selector::LDT) + 2] = 0x0040_f500_0000_0000 | cpu as u64;
    // SAFETY: the page has the descriptors that the selectors below name.
    unsafe {
        load(reserved_page(cpu) - FIRST_RESERVED_PAGE * PAGE_SIZE);
        asm!(
            "push {cs}",
            "lea {t}, [rip + 2f]",
            "push {t}",
            "retfq",
            "2:",
            "mov ss, {ss:e}",
            "mov ds, {z:e}",
            "mov es, {z:e}",
            "mov fs, {z:e}",
            "mov gs, {z:e}",
            cs = in(reg) selector::HV_CS as u64,
            ss = in(reg) selector::HV_SS as u32,
            z = in(reg) 0u32,
            t = out(reg) _,
        );
        asm!("ltr {:x}", in(reg) selector::TSS, options(nostack));
        super::segment::lldt(0);
    }
}

/// Loads a GDT that ends with this CPU's reserved page.
///
/// # Safety
/// `base` is a window whose page 14 is this CPU's reserved page, mapped in every address space it will be used in.
#[inline]
pub unsafe fn load(base: u64) {
    let p = Pointer { limit: LIMIT, base };
    // SAFETY: the caller vouches for the table.
    unsafe { asm!("lgdt [{}]", in(reg) &p, options(readonly, nostack, preserves_flags)) };
}

/// Points this CPU's LDT at `entries` descriptors at `base`; none means a null LDT.
pub fn set_ldt(cpu: usize, base: u64, entries: u32) {
    if entries == 0 {
        // SAFETY: a null selector.
        return unsafe { super::segment::lldt(0) };
    }
    let desc = system(base, entries * 8 - 1, 2);
    let slot = index(selector::LDT);
    // SAFETY: only this CPU writes its page, with interrupts off; the window holds validated descriptors only.
    unsafe {
        let page = &mut *(&raw mut PAGES[cpu].0);
        page[slot] = desc[0];
        page[slot + 1] = desc[1];
        super::segment::lldt(selector::LDT);
    }
}
