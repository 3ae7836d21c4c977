//! The clock that guests read by themselves: a rate and an origin for the time-stamp counter, in each `vcpu_info`
//! and, for a guest's vDSO, in a second area.
//!
//! The origin shown is the hypervisor's own, so that guest and hypervisor compute the same nanosecond, and the page
//! has to be written only when the area moves, or the vcpu comes to a CPU whose counter differs.

use super::{Area, clock};
use crate::domain::Vcpu;
use core::sync::atomic::Ordering::{Relaxed, Release};
use core::sync::atomic::fence;
use core::sync::atomic::{AtomicU32, AtomicU64};
use xen_abi::{Errno, VCPU_INFO_TIME, XEN_PVCLOCK_TSC_STABLE_BIT};

/// Which clock a vcpu on CPU `cpu` should have been shown; never 0.
#[inline]
fn wanted(cpu: usize) -> u32 {
    if clock::is_stable() { u32::MAX } else { cpu as u32 + 1 }
}

/// The vcpu's area has moved: show it the clock before it runs next, or now if it runs here.
pub fn invalidate(v: &Vcpu) {
    v.time.shown.store(0, Relaxed);
    if core::ptr::eq(v, crate::arch::x86::percpu::current()) {
        show(v, crate::arch::x86::percpu::cpu_id());
    }
}

/// Makes sure that the vcpu, which is about to run on CPU `cpu`, has the right clock.
#[inline]
pub fn refresh(v: &Vcpu, cpu: usize) {
    if v.time.shown.load(Relaxed) != wanted(cpu) {
        show(v, cpu);
    }
}

/// The words of `vcpu_time_info` but the first, which has the version.
fn contents(cpu: usize) -> [u64; 3] {
    let rate = clock::rate();
    let flags = if may_be_trusted() {
        XEN_PVCLOCK_TSC_STABLE_BIT
    } else {
        0
    };
    let last = rate.mul as u64 | (rate.shift as u8 as u64) << 32 | (flags as u64) << 40;
    [clock::origin().wrapping_sub(clock::offset_of(cpu)), 0, last]
}

/// May a guest read the counter on any CPU and believe that time never goes back? Not where the counter may stop with
/// the CPU; an emulated one does not, whatever it says of itself.
fn may_be_trusted() -> bool {
    clock::is_stable() && (clock::is_invariant() || core::arch::x86_64::__cpuid(1).ecx >> 31 != 0)
}

#[cold]
fn show(v: &Vcpu, cpu: usize) {
    let words = contents(cpu);
    let base = v.hot.info.load(Relaxed).cast::<u8>().wrapping_add(VCPU_INFO_TIME);
    // SAFETY: the clock part of the vcpu's `vcpu_info`, 32 aligned bytes that are only touched by atomics; its fields
    // are 32-bit at 0 and 64-bit from 8 on.
    let (version, fields): (&AtomicU32, &[AtomicU64; 3]) = unsafe { (&*base.cast(), &*base.add(8).cast()) };
    let odd = version.load(Relaxed) | 1;
    version.store(odd, Relaxed);
    fence(Release);
    for (field, word) in fields.iter().zip(words) {
        field.store(word, Relaxed);
    }
    version.store(odd.wrapping_add(1), Release);
    if let Some(area) = &*v.time.time_area.lock() {
        write_area(area, odd.wrapping_add(2), &words);
    }
    v.time.shown.store(wanted(cpu), Relaxed);
}

fn write_area(area: &Area, odd: u32, words: &[u64; 3]) {
    area.write(0, odd as u64);
    for (n, word) in words.iter().enumerate() {
        area.write(n + 1, *word);
    }
    area.write(0, odd.wrapping_add(1) as u64);
}

/// Sets or, for address 0, drops the second area of a vcpu (`VCPUOP_register_vcpu_time_memory_area`).
///
/// # Errors
/// As [`Area::new`].
pub fn register_area(cur: &Vcpu, v: &Vcpu, addr: u64) -> Result<(), Errno> {
    let area = if addr == 0 {
        None
    } else {
        Some(Area::new(cur, addr, 4)?)
    };
    *v.time.time_area.lock() = area;
    invalidate(v);
    Ok(())
}
