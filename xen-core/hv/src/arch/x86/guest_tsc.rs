//! What follows a vcpu of the time-stamp counter: `TSC_AUX`, and whether its user space may read the counter at all.

use super::guest_cpu::GuestCpu;
use super::segment;
use crate::sync::Once;
use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count};
use core::sync::atomic::Ordering::Relaxed;

const MSR_TSC_AUX: u32 = 0xc000_0103;
/// CR4.TSD: RDTSC is for ring 0 alone.
const CR4_TSD: u64 = 1 << 2;

/// Whether the processors have `TSC_AUX`; asked once.
static HAS_TSC_AUX: Once<bool> = Once::new();

/// Do the processors have `TSC_AUX`?
#[inline]
pub fn has_tsc_aux() -> bool {
    *HAS_TSC_AUX.call_once(|| {
        let rdtscp = __cpuid(0x8000_0000).eax >= 0x8000_0001 && __cpuid(0x8000_0001).edx & 1 << 27 != 0;
        let rdpid = __cpuid(0).eax >= 7 && __cpuid_count(7, 0).ecx & 1 << 22 != 0;
        rdtscp || rdpid
    })
}

impl GuestCpu {
    /// `TSC_AUX` as the guest set it.
    pub fn tsc_aux(&self) -> u64 {
        self.tsc_aux.load(Relaxed)
    }

    /// Sets `TSC_AUX` of the vcpu that runs here.
    pub fn set_tsc_aux_live(&self, value: u32) {
        self.tsc_aux.store(value as u64, Relaxed);
        self.load_tsc();
    }

    /// Sets `TSC_AUX` of a vcpu that is loaded nowhere.
    pub fn set_tsc_aux(&self, value: u32) {
        self.tsc_aux.store(value as u64, Relaxed);
    }

    /// Sets CR4 as the vcpu that runs here sees it; only TSD has an effect on the processor.
    pub fn set_cr4_live(&self, value: u64) {
        self.cr4.store(value, Relaxed);
        self.load_tsc();
    }

    /// Gives this CPU what the vcpu has set.
    pub(super) fn load_tsc(&self) {
        if has_tsc_aux() {
            // SAFETY: the register exists, and every 32-bit value is one for it; the hypervisor does not use it.
            unsafe { segment::wrmsr(MSR_TSC_AUX, self.tsc_aux()) };
        }
        let now = read_cr4();
        let wanted = now & !CR4_TSD | self.cr4.load(Relaxed) & CR4_TSD;
        if now != wanted {
            // SAFETY: only TSD changes.
            unsafe { asm!("mov cr4, {}", in(reg) wanted, options(nostack, preserves_flags)) };
        }
    }
}

fn read_cr4() -> u64 {
    let v;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, cr4", out(reg) v, options(nomem, nostack, preserves_flags)) };
    v
}
