//! The processor as a vcpu sees it, beyond its general registers: trap table, segments, debug registers, FPU.

use super::fpu::{self, FpuArea};
use super::guest_compat::CompatCallback;
use super::segment;
use crate::guest::access_ok;
use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};
use xen_abi::Errno;

/// One entry of the trap table (`trap_info`).
#[derive(Default)]
pub struct TrapGate {
    /// Where the guest wants to be entered; 0 is nowhere.
    pub address: AtomicU64,
    /// Bits 0 and 1: lowest privilege that may raise it by `int n`; bit 2: mask events on entry.
    pub flags: AtomicU32,
}

/// See the module.
pub struct GuestCpu {
    /// Trap table by vector.
    pub traps: [TrapGate; 256],
    /// Saved data segment selectors: ds, es, fs, gs.
    pub selectors: [AtomicU16; 4],
    /// Saved FS base.
    pub fs_base: AtomicU64,
    /// Saved live GS base, and the one that `swapgs` brings.
    pub gs_base: [AtomicU64; 2],
    /// DR0 to DR7 as the guest sees them.
    dr: [AtomicU64; 8],
    /// CR0.TS as the guest sees it.
    ts: AtomicBool,
    /// CR4 as the guest set it.
    pub cr4: AtomicU64,
    /// The privilege level that the guest kernel lets its I/O instructions have (`PHYSDEVOP_set_iopl`).
    pub iopl: AtomicU32,
    /// Guest virtual address of the bitmap of ports that user space may use (`PHYSDEVOP_set_iobitmap`).
    pub io_bitmap: AtomicU64,
    /// Ports that the bitmap covers; 0 while there is none.
    pub io_bitmap_ports: AtomicU32,
    /// `TSC_AUX`, which RDTSCP and RDPID give.
    pub(super) tsc_aux: AtomicU64,
    /// Frames of the guest's GDT; `u64::MAX` is none.
    pub gdt_frames: [AtomicU64; 14],
    /// Descriptors in the guest's GDT.
    pub gdt_entries: AtomicU32,
    /// Frames of the LDT; `u64::MAX` is none.
    pub ldt_frames: [AtomicU64; 16],
    /// Guest virtual address of the LDT.
    pub ldt_base: AtomicU64,
    /// Descriptors in the LDT.
    pub ldt_entries: AtomicU32,
    /// Where 32-bit `syscall` of its user space would enter the kernel.
    pub syscall32: CompatCallback,
    /// The same for `sysenter`.
    pub sysenter: CompatCallback,
    /// FPU and extended state.
    pub fpu: FpuArea,
}

/// Bits of DR7 that enable a breakpoint.
const DR7_ENABLES: u64 = 0xff;
/// DR6 after reset.
const DR6_INIT: u64 = 0xffff_0ff0;
/// DR7 after reset.
const DR7_INIT: u64 = 0x400;

impl GuestCpu {
    /// As after reset.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn new() -> Result<Self, Errno> {
        Ok(Self {
            traps: [const {
                TrapGate {
                    address: AtomicU64::new(0),
                    flags: AtomicU32::new(0),
                }
            }; 256],
            selectors: [const { AtomicU16::new(0) }; 4],
            fs_base: AtomicU64::new(0),
            gs_base: [const { AtomicU64::new(0) }; 2],
            dr: [0, 0, 0, 0, 0, 0, DR6_INIT, DR7_INIT].map(AtomicU64::new),
            ts: AtomicBool::new(false),
            cr4: AtomicU64::new(0),
            iopl: AtomicU32::new(0),
            io_bitmap: AtomicU64::new(0),
            io_bitmap_ports: AtomicU32::new(0),
            tsc_aux: AtomicU64::new(0),
            gdt_frames: [const { AtomicU64::new(u64::MAX) }; 14],
            gdt_entries: AtomicU32::new(0),
            ldt_frames: [const { AtomicU64::new(u64::MAX) }; 16],
            ldt_base: AtomicU64::new(0),
            ldt_entries: AtomicU32::new(0),
            syscall32: CompatCallback::new(),
            sysenter: CompatCallback::new(),
            fpu: FpuArea::new()?,
        })
    }

    /// Sets the segments of a vcpu that does not run: selectors ds, es, fs, gs, FS base, kernel and user GS base.
    pub fn set_segments(&self, selectors: [u16; 4], fs: u64, gs_kernel: u64, gs_user: u64, kernel_mode: bool) {
        for (slot, sel) in self.selectors.iter().zip(selectors) {
            slot.store(sel, Relaxed);
        }
        self.fs_base.store(fs, Relaxed);
        let (live, shadow) = if kernel_mode {
            (gs_kernel, gs_user)
        } else {
            (gs_user, gs_kernel)
        };
        self.gs_base[0].store(live, Relaxed);
        self.gs_base[1].store(shadow, Relaxed);
    }

    /// Takes this CPU's segments and FPU into the vcpu that has run on it.
    pub fn save(&self) {
        let live = [segment::ds(), segment::es(), segment::fs(), segment::gs()];
        for (slot, sel) in self.selectors.iter().zip(live) {
            slot.store(sel, Relaxed);
        }
        self.fs_base.store(segment::fs_base(), Relaxed);
        self.gs_base[0].store(segment::gs_base(), Relaxed);
        self.gs_base[1].store(segment::shadow_gs_base(), Relaxed);
        if self.ts() {
            segment::clts();
        }
        // SAFETY: the caller's vcpu is the one whose state this CPU holds.
        unsafe { self.fpu.save() };
        if self.dr[7].load(Relaxed) & DR7_ENABLES != 0 {
            write_dr(7, DR7_INIT);
        }
    }

    /// Gives this CPU the vcpu's segments, FPU and debug registers; false where a selector was refused.
    pub fn load(&self) -> bool {
        let sel = |i: usize| self.selectors[i].load(Relaxed);
        // Not short-circuited: each segment register must lose the other vcpu's value.
        let ok =
            segment::load_ds(sel(0)) & segment::load_es(sel(1)) & segment::load_fs(sel(2)) & segment::load_gs(sel(3));
        segment::set_fs_base(self.fs_base.load(Relaxed));
        segment::set_gs_base(self.gs_base[0].load(Relaxed));
        segment::set_shadow_gs_base(self.gs_base[1].load(Relaxed));
        // SAFETY: the vcpu is about to run here.
        unsafe { self.fpu.restore() };
        if self.ts() {
            fpu::set_ts(true);
        }
        self.load_tsc();
        self.load_debug();
        ok
    }

    fn load_debug(&self) {
        let dr7 = self.dr[7].load(Relaxed);
        if dr7 & DR7_ENABLES != 0 {
            for i in 0..4 {
                write_dr(i, self.dr[i].load(Relaxed));
            }
            write_dr(6, DR6_INIT);
            write_dr(7, dr7);
        }
    }

    /// CR0.TS as the guest sees it.
    #[inline]
    pub fn ts(&self) -> bool {
        self.ts.load(Relaxed)
    }

    /// Sets CR0.TS for the vcpu that runs here.
    pub fn set_ts_live(&self, on: bool) {
        self.ts.store(on, Relaxed);
        fpu::set_ts(on);
    }

    /// Debug register `n` as the guest sees it; `EINVAL` where there is none.
    ///
    /// # Errors
    /// `EINVAL`.
    pub fn debugreg(&self, n: u64) -> Result<u64, Errno> {
        match n {
            0..=3 | 6 | 7 => Ok(self.dr[n as usize].load(Relaxed)),
            4 | 5 if self.cr4.load(Relaxed) & 8 == 0 => Ok(self.dr[n as usize + 2].load(Relaxed)),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Sets debug register `n` of the vcpu, and of this CPU if it runs here (`live`).
    ///
    /// A breakpoint must be in guest memory, and none may be for I/O ports: with CR4.DE they would watch ours.
    ///
    /// # Errors
    /// `EPERM` for a breakpoint in the hypervisor's hole or for general detection, `EINVAL` for no such register.
    pub fn set_debugreg(&self, n: u64, value: u64, live: bool) -> Result<(), Errno> {
        match n {
            0..=3 => {
                if !access_ok(value, 8) {
                    return Err(Errno::EPERM);
                }
                self.dr[n as usize].store(value, Relaxed);
                if live && self.dr[7].load(Relaxed) & DR7_ENABLES != 0 {
                    write_dr(n as usize, value);
                }
            }
            4 | 6 => self.dr[6].store(value & 0xe00f | DR6_INIT, Relaxed),
            5 | 7 => self.set_dr7(value, live)?,
            _ => return Err(Errno::EINVAL),
        }
        Ok(())
    }

    fn set_dr7(&self, value: u64, live: bool) -> Result<(), Errno> {
        // Bits 14, 15 and the upper half are reserved as zero, bit 10 as one; bit 13 detects accesses to the
        // debug registers themselves, which are ours.
        let dr7 = value & 0xffff_03ff | DR7_INIT;
        if value & (1 << 13) != 0 {
            return Err(Errno::EPERM);
        }
        for i in 0..4 {
            let enabled = dr7 >> (i * 2) & 3 != 0;
            let rw = dr7 >> (16 + i * 4) & 3;
            if enabled && rw == 2 {
                return Err(Errno::EPERM);
            }
        }
        let old = self.dr[7].swap(dr7, Relaxed);
        if live {
            if dr7 & DR7_ENABLES != 0 {
                self.load_debug();
            } else if old & DR7_ENABLES != 0 {
                write_dr(7, DR7_INIT);
            }
        }
        Ok(())
    }

    /// Merges what a debug exception of this CPU reported into the guest's DR6.
    pub fn note_debug_exception(&self) {
        let dr6 = read_dr6();
        write_dr(6, DR6_INIT);
        self.dr[6].fetch_or(dr6 & 0xe00f, Relaxed);
    }
}

fn read_dr6() -> u64 {
    let v;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, dr6", out(reg) v, options(nomem, nostack, preserves_flags)) };
    v
}

/// Writes a debug register with a value that `set_debugreg` has checked.
fn write_dr(n: usize, value: u64) {
    // SAFETY: breakpoints are on guest memory only; one that hits in ring 0 is ignored on the #DB stack.
    unsafe {
        match n {
            0 => asm!("mov dr0, {}", in(reg) value, options(nostack, preserves_flags)),
            1 => asm!("mov dr1, {}", in(reg) value, options(nostack, preserves_flags)),
            2 => asm!("mov dr2, {}", in(reg) value, options(nostack, preserves_flags)),
            3 => asm!("mov dr3, {}", in(reg) value, options(nostack, preserves_flags)),
            6 => asm!("mov dr6, {}", in(reg) value, options(nostack, preserves_flags)),
            _ => asm!("mov dr7, {}", in(reg) value, options(nostack, preserves_flags)),
        }
    }
}
