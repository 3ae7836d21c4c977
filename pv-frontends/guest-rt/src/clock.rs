//! Time: the hypervisor's clock pages and the time stamp counter.
use crate::{events, vcpu};
use core::sync::atomic::{Ordering, fence};
use xen_abi::*;

/// The time stamp counter.
pub fn ticks() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a counter.
    unsafe { core::arch::asm!("rdtsc", out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags)) };
    u64::from(high) << 32 | u64::from(low)
}

/// Nanoseconds since the hypervisor started: what timers and timeouts are set by.
pub fn system_time() -> u64 {
    // Words of `vcpu_time_info`: version, tsc_timestamp, system_time, tsc_to_system_mul with tsc_shift.
    let word = |index: usize| events::shared_word(vcpu::number() * VCPU_INFO_SIZE + VCPU_INFO_TIME + index * 8);
    loop {
        let version = word(0).load(Ordering::Acquire) as u32;
        let [stamp, base, scale] = [1, 2, 3].map(|index| word(index).load(Ordering::Relaxed));
        let now = ticks();
        fence(Ordering::Acquire);
        if version & 1 == 0 && version == word(0).load(Ordering::Relaxed) as u32 {
            return base + scaled(now.wrapping_sub(stamp), scale as u32, (scale >> 32) as i8);
        }
        core::hint::spin_loop();
    }
}

/// Ticks as nanoseconds: shifted, then multiplied by a 0.32 fraction.
fn scaled(ticks: u64, multiplier: u32, shift: i8) -> u64 {
    let shifted = if shift < 0 {
        ticks >> u32::from(shift.unsigned_abs()).min(63)
    } else {
        ticks << u32::from(shift.unsigned_abs()).min(63)
    };
    ((u128::from(shifted) * u128::from(multiplier)) >> 32) as u64
}

/// Seconds and nanoseconds since 1970 at system time 0.
pub fn wall_clock_base() -> (u64, u32) {
    // Words of the shared page: version with seconds, nanoseconds with the seconds' high half.
    let [first, second] = [SHARED_INFO_WC_VERSION, SHARED_INFO_WC_NSEC].map(events::shared_word);
    loop {
        let [before, rest, after] = [first, second, first].map(|word| word.load(Ordering::Acquire));
        if before as u32 & 1 == 0 && before == after {
            return ((rest >> 32) << 32 | before >> 32, rest as u32);
        }
        core::hint::spin_loop();
    }
}
