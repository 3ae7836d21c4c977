//! Segment registers, their bases, control and model-specific registers: the small instructions.

use core::arch::asm;

/// Reads a model-specific register that this CPU is known to have.
///
/// # Safety
/// The register exists; reading it has no side effect that matters.
#[inline]
pub unsafe fn rdmsr(msr: u32) -> u64 {
    let (lo, hi): (u32, u32);
    // SAFETY: the caller vouches for the register.
    unsafe { asm!("rdmsr", in("ecx") msr, out("eax") lo, out("edx") hi, options(nomem, nostack, preserves_flags)) };
    (hi as u64) << 32 | lo as u64
}

/// Writes a model-specific register that this CPU is known to have.
///
/// # Safety
/// The register exists, and the value keeps the hypervisor's invariants.
#[inline]
pub unsafe fn wrmsr(msr: u32, value: u64) {
    // SAFETY: the caller vouches for register and value.
    unsafe {
        asm!("wrmsr", in("ecx") msr, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack, preserves_flags))
    };
}

/// Reads a model-specific register that may not exist.
pub fn rdmsr_safe(msr: u32) -> Option<u64> {
    let (lo, hi): (u32, u32);
    let ok: u64;
    // SAFETY: a fault is caught by the exception table; reading an MSR changes nothing of ours.
    unsafe {
        asm!(
            "mov {ok:e}, 1",
            "2: rdmsr",
            "3:",
            ".pushsection .text.fixup, \"ax\"",
            "4: xor {ok:e}, {ok:e}",
            "xor eax, eax",
            "xor edx, edx",
            "jmp 3b",
            ".popsection",
            ".pushsection .ex_table, \"a\"",
            ".balign 8",
            ".quad 2b, 4b",
            ".popsection",
            ok = out(reg) ok,
            in("ecx") msr,
            out("eax") lo,
            out("edx") hi,
            options(nostack),
        );
    }
    (ok != 0).then_some((hi as u64) << 32 | lo as u64)
}

/// Writes a model-specific register that may not exist or may refuse the value; says whether it was written.
///
/// # Safety
/// If it is written, the value keeps the hypervisor's invariants.
pub unsafe fn wrmsr_safe(msr: u32, value: u64) -> bool {
    let ok: u64;
    // SAFETY: a fault is caught by the exception table; the caller vouches for the effect.
    unsafe {
        asm!(
            "mov {ok:e}, 1",
            "2: wrmsr",
            "3:",
            ".pushsection .text.fixup, \"ax\"",
            "4: xor {ok:e}, {ok:e}",
            "jmp 3b",
            ".popsection",
            ".pushsection .ex_table, \"a\"",
            ".balign 8",
            ".quad 2b, 4b",
            ".popsection",
            ok = out(reg) ok,
            in("ecx") msr,
            in("eax") value as u32,
            in("edx") (value >> 32) as u32,
            options(nostack),
        );
    }
    ok != 0
}

const MSR_FS_BASE: u32 = 0xc000_0100;
const MSR_GS_BASE: u32 = 0xc000_0101;
const MSR_SHADOW_GS_BASE: u32 = 0xc000_0102;

/// Whether CR4.FSGSBASE is on: set once at boot, the same on every CPU.
static FSGSBASE: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);

/// Tells this module that CR4.FSGSBASE has been set on the boot CPU and will be on all.
pub fn set_fsgsbase() {
    FSGSBASE.store(true, core::sync::atomic::Ordering::Relaxed);
}

/// Whether the FSGSBASE instructions are in use.
#[inline]
pub fn has_fsgsbase() -> bool {
    FSGSBASE.load(core::sync::atomic::Ordering::Relaxed)
}

/// Whether `addr` is canonical for 48-bit addresses; a base that is not would fault in ring 0.
#[inline]
pub fn is_canonical(addr: u64) -> bool {
    ((addr << 16) as i64 >> 16) as u64 == addr
}

macro_rules! base_accessors {
    ($read:ident, $write:ident, $rd:literal, $wr:literal, $msr:expr, $what:literal) => {
        #[doc = concat!("The live ", $what, " base.")]
        #[inline]
        pub fn $read() -> u64 {
            if has_fsgsbase() {
                let base;
                // SAFETY: CR4.FSGSBASE is set; the hypervisor uses neither base.
                unsafe { asm!($rd, out(reg) base, options(nomem, nostack, preserves_flags)) };
                base
            } else {
                // SAFETY: the register is architectural.
                unsafe { rdmsr($msr) }
            }
        }

        #[doc = concat!("Sets the live ", $what, " base, which must be canonical.")]
        #[inline]
        pub fn $write(base: u64) {
            debug_assert!(is_canonical(base));
            if has_fsgsbase() {
                // SAFETY: CR4.FSGSBASE is set; the hypervisor uses neither base; callers pass canonical ones.
                unsafe { asm!($wr, in(reg) base, options(nomem, nostack, preserves_flags)) };
            } else {
                // SAFETY: as above.
                unsafe { wrmsr($msr, base) };
            }
        }
    };
}

base_accessors!(fs_base, set_fs_base, "rdfsbase {}", "wrfsbase {}", MSR_FS_BASE, "FS");
base_accessors!(gs_base, set_gs_base, "rdgsbase {}", "wrgsbase {}", MSR_GS_BASE, "GS");

/// The GS base that the next `swapgs` makes live.
#[inline]
pub fn shadow_gs_base() -> u64 {
    // SAFETY: the register is architectural.
    unsafe { rdmsr(MSR_SHADOW_GS_BASE) }
}

/// Sets the GS base that the next `swapgs` makes live; canonical.
#[inline]
pub fn set_shadow_gs_base(base: u64) {
    debug_assert!(is_canonical(base));
    // SAFETY: the hypervisor uses no GS base.
    unsafe { wrmsr(MSR_SHADOW_GS_BASE, base) };
}

/// Exchanges the live and the shadow GS base.
#[inline]
pub fn swapgs() {
    // SAFETY: the hypervisor uses no GS base.
    unsafe { asm!("swapgs", options(nomem, nostack, preserves_flags)) };
}

macro_rules! selector_accessors {
    ($read:ident, $load:ident, $rd:literal, $wr:literal, $what:literal) => {
        #[doc = concat!("The ", $what, " selector.")]
        #[inline]
        pub fn $read() -> u16 {
            let sel: u32;
            // SAFETY: reads a segment register.
            unsafe { asm!($rd, out(reg) sel, options(nomem, nostack, preserves_flags)) };
            sel as u16
        }

        #[doc = concat!("Loads ", $what, "; a selector that the CPU refuses becomes null, and `false`.")]
        #[inline]
        pub fn $load(sel: u16) -> bool {
            let ok: u64;
            // SAFETY: data segments mean nothing to 64-bit ring 0; the exception table catches a refusal.
            unsafe {
                asm!(
                    "mov {ok:e}, 1",
                    concat!("2: ", $wr),
                    "3:",
                    ".pushsection .text.fixup, \"ax\"",
                    "4: xor {ok:e}, {ok:e}",
                    "xor {s:e}, {s:e}",
                    "jmp 2b",
                    ".popsection",
                    ".pushsection .ex_table, \"a\"",
                    ".balign 8",
                    ".quad 2b, 4b",
                    ".popsection",
                    ok = out(reg) ok,
                    s = inout(reg) sel as u32 => _,
                    options(nostack),
                );
            }
            ok != 0
        }
    };
}

selector_accessors!(ds, load_ds, "mov {:e}, ds", "mov ds, {s:e}", "DS");
selector_accessors!(es, load_es, "mov {:e}, es", "mov es, {s:e}", "ES");
selector_accessors!(fs, load_fs, "mov {:e}, fs", "mov fs, {s:e}", "FS");
selector_accessors!(gs, load_gs, "mov {:e}, gs", "mov gs, {s:e}", "GS");

/// Loads a null or valid LDT selector of the reserved GDT page.
///
/// # Safety
/// The descriptor it names is null or describes a window of validated descriptors.
#[inline]
pub unsafe fn lldt(sel: u16) {
    // SAFETY: the caller vouches for the descriptor.
    unsafe { asm!("lldt {:x}", in(reg) sel, options(nostack, preserves_flags)) };
}

/// CR2, the address of the last page fault of this CPU.
#[inline]
pub fn read_cr2() -> u64 {
    let v;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr2", out(reg) v, options(nomem, nostack, preserves_flags)) };
    v
}

/// CR3 as loaded.
#[inline]
pub fn read_cr3() -> u64 {
    let v;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr3", out(reg) v, options(nomem, nostack, preserves_flags)) };
    v
}

/// Loads CR3, which flushes this CPU's non-global translations.
///
/// # Safety
/// `cr3` is the machine address of an L4 table that holds the hypervisor's slots, referenced while it is loaded.
#[inline]
pub unsafe fn write_cr3(cr3: u64) {
    // SAFETY: the caller vouches for the table.
    unsafe { asm!("mov cr3, {}", in(reg) cr3, options(nostack, preserves_flags)) };
}

/// CR0 as loaded.
#[inline]
pub fn read_cr0() -> u64 {
    let v;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr0", out(reg) v, options(nomem, nostack, preserves_flags)) };
    v
}

/// Sets CR0.
///
/// # Safety
/// Keeps protection, paging and write protection on.
#[inline]
pub unsafe fn write_cr0(v: u64) {
    // SAFETY: the caller vouches for the value.
    unsafe { asm!("mov cr0, {}", in(reg) v, options(nostack, preserves_flags)) };
}

/// Clears CR0.TS.
#[inline]
pub fn clts() {
    // SAFETY: the hypervisor does not use the FPU but to save and restore it.
    unsafe { asm!("clts", options(nomem, nostack, preserves_flags)) };
}
