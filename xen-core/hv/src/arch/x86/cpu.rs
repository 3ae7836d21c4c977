//! What the CPU can do, and the control registers every CPU gets.

use super::segment::{rdmsr, set_fsgsbase, wrmsr};
use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count, CpuidResult};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bits of CR4 (Intel SDM volume 3, 2.5).
pub mod cr4 {
    #![allow(missing_docs)]
    pub const DE: u64 = 1 << 3;
    pub const PAE: u64 = 1 << 5;
    pub const MCE: u64 = 1 << 6;
    pub const PGE: u64 = 1 << 7;
    pub const OSFXSR: u64 = 1 << 9;
    pub const OSXMMEXCPT: u64 = 1 << 10;
    pub const UMIP: u64 = 1 << 11;
    pub const FSGSBASE: u64 = 1 << 16;
    pub const OSXSAVE: u64 = 1 << 18;
    pub const SMEP: u64 = 1 << 20;
    pub const SMAP: u64 = 1 << 21;
}

/// PG, AM, WP, NE, ET, MP, PE.
const CR0: u64 = 0x8005_0033;
const MSR_EFER: u32 = 0xc000_0080;
const EFER_SCE: u64 = 1;
const EFER_NXE: u64 = 1 << 11;
const MSR_PAT: u32 = 0x277;
/// The page attribute table that Xen's guests find (write-back, write-through, uncached minus, uncached,
/// write-combining, write-protected): they cannot change it, and choose by what they read.
const PAT: u64 = 0x0000_0501_0007_0406;

/// The CR4 of every CPU, as chosen on the boot CPU.
static CR4: AtomicU64 = AtomicU64::new(0);

/// A CPUID leaf; all zero where there is no such leaf.
pub fn cpuid(leaf: u32, subleaf: u32) -> CpuidResult {
    let none = CpuidResult {
        eax: 0,
        ebx: 0,
        ecx: 0,
        edx: 0,
    };
    if __cpuid(leaf & 0xc000_0000).eax < leaf {
        none
    } else {
        __cpuid_count(leaf, subleaf)
    }
}

/// Are there 1 GiB pages?
pub fn has_gib_pages() -> bool {
    cpuid(0x8000_0001, 0).edx & 1 << 26 != 0
}

/// Can the local APIC be used through MSRs?
pub fn has_x2apic() -> bool {
    cpuid(1, 0).ecx & 1 << 21 != 0
}

/// Does the time-stamp counter run at one rate in all power states?
pub fn has_invariant_tsc() -> bool {
    cpuid(0x8000_0007, 0).edx & 1 << 8 != 0
}

/// The CPU's name, padded with zeros.
pub fn brand() -> [u8; 48] {
    let mut name = [0; 48];
    for (i, part) in name.chunks_exact_mut(16).enumerate() {
        let r = cpuid(0x8000_0002 + i as u32, 0);
        for (word, to) in [r.eax, r.ebx, r.ecx, r.edx].iter().zip(part.chunks_exact_mut(4)) {
            to.copy_from_slice(&word.to_le_bytes());
        }
    }
    name
}

/// Ticks a second, where the CPU says so itself.
pub fn tsc_hz_by_cpuid() -> Option<u64> {
    let r = cpuid(0x15, 0);
    if r.eax == 0 || r.ebx == 0 || r.ecx == 0 {
        return None;
    }
    Some(r.ecx as u64 * r.ebx as u64 / r.eax as u64)
}

/// Chooses the features that all CPUs use; on the boot CPU, before [`init`].
///
/// Never PKE nor LA57: user space of a guest sees the real CPUID, and would believe them.
pub fn choose_features() {
    let (l1, l7) = (cpuid(1, 0), cpuid(7, 0));
    let mut value = cr4::DE | cr4::PAE | cr4::OSFXSR | cr4::OSXMMEXCPT;
    let mut add = |has: bool, bit: u64| value |= if has { bit } else { 0 };
    add(l1.edx & 1 << 7 != 0, cr4::MCE);
    add(l1.edx & 1 << 13 != 0, cr4::PGE);
    add(l1.ecx & 1 << 26 != 0, cr4::OSXSAVE);
    add(l7.ebx & 1 != 0, cr4::FSGSBASE);
    add(l7.ebx & 1 << 7 != 0, cr4::SMEP);
    add(l7.ebx & 1 << 20 != 0, cr4::SMAP);
    add(l7.ecx & 1 << 2 != 0, cr4::UMIP);
    CR4.store(value, Relaxed);
}

/// Which CR4 bits all CPUs have set.
pub fn cr4() -> u64 {
    CR4.load(Relaxed)
}

/// Sets the control registers of the CPU that executes this.
pub fn init() {
    // SAFETY: the values are those that the rest of the hypervisor is written for; every bit was found in CPUID.
    unsafe {
        asm!("mov cr0, {}", in(reg) CR0, options(nostack, preserves_flags));
        asm!("mov cr4, {}", in(reg) cr4(), options(nostack, preserves_flags));
        wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE | EFER_NXE);
        wrmsr(MSR_PAT, PAT);
    }
    if cr4() & cr4::FSGSBASE != 0 {
        set_fsgsbase();
    }
}

/// The time-stamp counter, not before what stands before it.
#[inline]
pub fn rdtsc() -> u64 {
    let (lo, hi): (u32, u32);
    // SAFETY: reads a counter.
    unsafe { asm!("lfence", "rdtsc", out("eax") lo, out("edx") hi, options(nostack, preserves_flags)) };
    (hi as u64) << 32 | lo as u64
}

/// Forgets this CPU's translation of the page at `va`.
#[inline]
pub fn invlpg(va: u64) {
    // SAFETY: forgetting a translation changes no mapping.
    unsafe { asm!("invlpg [{}]", in(reg) va, options(nostack, preserves_flags)) };
}

/// Writes the cache line at `line` back, which is mapped, and drops it from all caches.
pub fn flush_line(line: *const u8) {
    // SAFETY: the caller's pointer is mapped; no memory changes by it.
    unsafe { asm!("clflush [{}]", in(reg) line, options(nostack, preserves_flags)) };
}

/// Writes this CPU's caches back and empties them.
pub fn wbinvd() {
    // SAFETY: writes back what is cached; no memory changes by it.
    unsafe { asm!("wbinvd", options(nostack, preserves_flags)) };
}

/// Lets pending interrupts in for a moment.
///
/// # Safety
/// No lock is held and no per-CPU state is half changed: handlers run on this stack, above the caller.
#[inline]
pub unsafe fn open_interrupt_window() {
    // SAFETY: as the caller promises.
    unsafe { asm!("sti", "nop", "cli", options(nostack)) };
}

/// Waits with interrupts on until one comes.
///
/// `sti` lets interrupts in only after `hlt` has begun, so that one that comes after the caller's last look at its
/// work ends the wait.
///
/// # Safety
/// As for [`open_interrupt_window`].
#[inline]
pub unsafe fn wait_for_interrupt() {
    // SAFETY: as the caller promises.
    unsafe { asm!("sti", "hlt", "cli", options(nostack)) };
}

/// The frame pointer of the function this is inlined into.
#[inline(always)]
pub fn frame_pointer() -> u64 {
    let rbp: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) rbp, options(nomem, nostack, preserves_flags)) };
    rbp
}

/// Stops this CPU for ever.
pub fn halt() -> ! {
    loop {
        // SAFETY: with interrupts off, only NMIs and the like come back from here, to the loop.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
