//! FPU and extended state: saved and restored whole at every change of vcpu, so that none sees another's.

use super::segment;
use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use xen_abi::Errno;
use xen_logic::xstate;

/// Every component the CPU has and we switch (XCR0); 0 where there is no XSAVE.
static XCR0: AtomicU64 = AtomicU64::new(0);
/// Bytes of a save area.
static AREA_SIZE: AtomicU64 = AtomicU64::new(512);

/// MXCSR bits that the CPU has.
static MXCSR_MASK: AtomicU32 = AtomicU32::new(MXCSR_MINIMUM);
/// MXCSR bits where the CPU does not say: all but DAZ.
const MXCSR_MINIMUM: u32 = 0xffbf;
/// Bytes of the x87 and SSE state, as `fxsave` writes it.
pub const LEGACY_SIZE: usize = 512;

/// Components handled: x87, SSE, AVX, AVX-512. Others (MPX, PKU) stay off.
const KNOWN: u64 = 0b1110_0111;

/// Finds what the CPU has; the boot CPU calls it once, after CR4.OSXSAVE is set where there is XSAVE.
pub fn init() {
    find_mxcsr_mask();
    if __cpuid(1).ecx & 1 << 26 == 0 {
        return;
    }
    let leaf = __cpuid_count(0xd, 0);
    XCR0.store((((leaf.edx as u64) << 32) | leaf.eax as u64) & KNOWN, Ordering::Relaxed);
    set_xcr0(xcr0_all());
    AREA_SIZE.store(__cpuid_count(0xd, 0).ebx as u64, Ordering::Relaxed);
}

fn find_mxcsr_mask() {
    #[repr(align(16))]
    struct Area([u32; LEGACY_SIZE / 4]);
    let mut area = Area([0; LEGACY_SIZE / 4]);
    // SAFETY: the area has the size and alignment that the instruction asks for.
    unsafe { asm!("fxsave64 [{}]", in(reg) &raw mut area, options(nostack, preserves_flags)) };
    if area.0[7] != 0 {
        MXCSR_MASK.store(area.0[7], Ordering::Relaxed);
    }
}

/// Sets this CPU's registers as at reset: every CPU calls it when it comes up.
pub fn init_cpu() {
    if xcr0_all() != 0 {
        set_xcr0(xcr0_all());
    }
}

/// All components that a guest may enable in XCR0; 0 where there is no XSAVE.
pub fn xcr0_all() -> u64 {
    XCR0.load(Ordering::Relaxed)
}

/// Bytes that a vcpu's save area needs.
pub fn area_size() -> u64 {
    AREA_SIZE.load(Ordering::Relaxed)
}

/// Bytes of an area with these components, which the CPU has, not compacted.
pub fn size_of(components: u64) -> usize {
    (2..63)
        .filter(|n| components & xcr0_all() & (1 << n) != 0)
        .map(|n| {
            let leaf = __cpuid_count(0xd, n);
            leaf.ebx as usize + leaf.eax as usize
        })
        .fold(xstate::AREA_MIN, usize::max)
}

fn set_xcr0(value: u64) {
    // SAFETY: callers pass subsets of what the CPU has, with x87 on.
    unsafe {
        asm!("xsetbv", in("ecx") 0, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack, preserves_flags))
    };
}

/// A vcpu's saved FPU state.
pub struct FpuArea {
    area: *mut u8,
    layout: Layout,
    /// XCR0 as the guest set it.
    xcr0: AtomicU64,
}

// SAFETY: the area is reached only through `save` and `restore`, whose callers own the vcpu's state.
unsafe impl Send for FpuArea {}
// SAFETY: as above.
unsafe impl Sync for FpuArea {}

impl FpuArea {
    /// State as after reset.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn new() -> Result<Self, Errno> {
        let size = (area_size() as usize).max(576);
        let layout = Layout::from_size_align(size, 64).map_err(|_| Errno::ENOMEM)?;
        // SAFETY: the size is not zero.
        let area = unsafe { alloc_zeroed(layout) };
        if area.is_null() {
            return Err(Errno::ENOMEM);
        }
        // FCW and MXCSR at reset; XSTATE_BV = 0 brings all else to its initial state.
        // SAFETY: the legacy area has 512 bytes.
        unsafe {
            area.cast::<u16>().write(0x37f);
            area.add(24).cast::<u32>().write(0x1f80);
        }
        Ok(Self {
            area,
            layout,
            xcr0: AtomicU64::new(1),
        })
    }

    /// Sets the x87 and SSE state from what `fxsave` wrote somewhere; the rest as after reset. Bits that MXCSR has not
    /// are dropped: loading them would fault.
    ///
    /// # Safety
    /// No CPU runs the vcpu or holds its state.
    pub unsafe fn set_legacy(&self, from: &[u8; LEGACY_SIZE]) {
        const MXCSR: usize = 24;
        // SAFETY: the area has 576 bytes at least, 512 of state and then the header with the components in use; the
        // caller vouches that nobody else is at it.
        unsafe {
            self.area.copy_from_nonoverlapping(from.as_ptr(), LEGACY_SIZE);
            let mxcsr = self.area.add(MXCSR).cast::<u32>();
            mxcsr.write(mxcsr.read() & MXCSR_MASK.load(Ordering::Relaxed));
            self.area
                .add(LEGACY_SIZE)
                .cast::<[u64; 8]>()
                .write([3, 0, 0, 0, 0, 0, 0, 0]);
        }
    }

    /// The x87 and SSE state as `fxsave` writes it.
    ///
    /// # Safety
    /// No CPU runs the vcpu or holds its state.
    pub unsafe fn legacy(&self, to: &mut [u8; LEGACY_SIZE]) {
        // SAFETY: the area has 576 bytes at least; the caller vouches that nobody writes to it.
        unsafe { to.as_mut_ptr().copy_from_nonoverlapping(self.area, LEGACY_SIZE) };
    }

    /// The whole area, as `xsave` writes it; empty where the CPU has no XSAVE.
    ///
    /// # Safety
    /// No CPU runs the vcpu or holds its state, as long as the answer is used.
    pub unsafe fn extended(&self) -> &[u8] {
        let len = if xcr0_all() == 0 { 0 } else { area_size() as usize };
        // SAFETY: the area was allocated with that size, zeroed; the caller vouches that nobody writes to it.
        unsafe { core::slice::from_raw_parts(self.area, len) }
    }

    /// Sets XCR0 and the whole area from what `xen_logic::xstate::read` took; what the area is short of is as after
    /// reset.
    ///
    /// # Safety
    /// No CPU runs the vcpu or holds its state.
    pub unsafe fn set_extended(&self, xcr0: u64, from: &[u8]) {
        const MXCSR: usize = 24;
        let len = from.len().min(self.layout.size());
        // SAFETY: the area has `layout.size()` bytes, 576 at least; the caller vouches that nobody else is at it. MXCSR
        // is at offset 24 of it, aligned; bits that the CPU has not would make the load fault.
        unsafe {
            self.area.write_bytes(0, self.layout.size());
            self.area.copy_from_nonoverlapping(from.as_ptr(), len);
            let mxcsr = self.area.add(MXCSR).cast::<u32>();
            mxcsr.write(mxcsr.read() & MXCSR_MASK.load(Ordering::Relaxed));
        }
        self.xcr0.store(xcr0, Ordering::Relaxed);
    }

    /// XCR0 as the guest set it.
    pub fn xcr0(&self) -> u64 {
        self.xcr0.load(Ordering::Relaxed)
    }

    /// Sets the XCR0 of the vcpu that runs here; `EINVAL` for a value the CPU would refuse.
    ///
    /// # Errors
    /// `EINVAL`.
    pub fn set_xcr0_live(&self, value: u64) -> Result<(), Errno> {
        if !xstate::is_valid_xcr0(value, xcr0_all()) {
            return Err(Errno::EINVAL);
        }
        self.xcr0.store(value, Ordering::Relaxed);
        set_xcr0(value);
        Ok(())
    }

    /// Saves this CPU's registers here. CR0.TS must be clear.
    ///
    /// # Safety
    /// The vcpu's state is loaded on this CPU.
    pub unsafe fn save(&self) {
        let all = xcr0_all();
        // SAFETY: the area has the size the CPU asks for, aligned to 64.
        unsafe {
            if all == 0 {
                asm!("fxsave64 [{}]", in(reg) self.area, options(nostack, preserves_flags));
                return;
            }
            if self.xcr0() != all {
                set_xcr0(all);
            }
            asm!("xsave64 [{}]", in(reg) self.area, in("eax") u32::MAX, in("edx") u32::MAX, options(nostack, preserves_flags));
        }
    }

    /// Loads all components, also those the guest has not enabled, then sets its XCR0. CR0.TS must be clear.
    ///
    /// # Safety
    /// The vcpu is about to run on this CPU.
    pub unsafe fn restore(&self) {
        let all = xcr0_all();
        // SAFETY: the area was written by `new` or `save` only, so no component is malformed.
        unsafe {
            if all == 0 {
                asm!("fxrstor64 [{}]", in(reg) self.area, options(nostack, preserves_flags));
                return;
            }
            set_xcr0(all);
            asm!("xrstor64 [{}]", in(reg) self.area, in("eax") u32::MAX, in("edx") u32::MAX, options(nostack, preserves_flags));
            if self.xcr0() != all {
                set_xcr0(self.xcr0());
            }
        }
    }
}

impl Drop for FpuArea {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this layout.
        unsafe { dealloc(self.area, self.layout) };
    }
}

/// Sets or clears CR0.TS on this CPU.
#[inline]
pub fn set_ts(on: bool) {
    if on {
        // SAFETY: only TS changes.
        unsafe { segment::write_cr0(segment::read_cr0() | 8) };
    } else {
        segment::clts();
    }
}
