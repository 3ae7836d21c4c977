//! The time of day: kept as the moment at which system time was zero, and shown in each domain's shared page.

use super::clock;
use crate::domain::{self, Domain};
use crate::event;
use crate::sync::Mutex;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{Relaxed, Release};
use core::sync::atomic::fence;
use xen_abi::{SHARED_INFO_WC_NSEC, SHARED_INFO_WC_SEC, SHARED_INFO_WC_SEC_HI, SHARED_INFO_WC_VERSION};
use xen_logic::time::{NS_PER_SEC, split_seconds};

/// Nanoseconds from 1970 to system time zero.
static EPOCH: Mutex<u64> = Mutex::new(0);

/// Boot has read the real-time clock: it is `secs` after 1970 now.
pub fn init(secs: u64) {
    *EPOCH.lock() = secs.saturating_mul(NS_PER_SEC).saturating_sub(clock::now());
}

/// It was `secs` and `nsecs` after 1970 when system time was `system_time`; shows that to every domain.
pub fn set_wallclock(secs: u64, nsecs: u32, system_time: u64) {
    let ns = secs.saturating_mul(NS_PER_SEC).saturating_add(nsecs as u64);
    *EPOCH.lock() = ns.saturating_sub(system_time);
    domain::for_each(|d| update(d));
}

/// Writes the time of day to a domain's shared page.
pub fn update(domain: &Domain) {
    // Held while writing, so that two writers do not mix.
    let epoch = EPOCH.lock();
    let (secs, nsecs) = split_seconds(*epoch);
    let secs = secs.wrapping_add_signed(domain.time.offset_seconds.load(Relaxed));
    let word = |offset| event::shared_word(domain, offset);
    let (Some(version), Some(low), Some(high), Some(ns)) = (
        word(SHARED_INFO_WC_VERSION),
        word(SHARED_INFO_WC_SEC),
        word(SHARED_INFO_WC_SEC_HI),
        word(SHARED_INFO_WC_NSEC),
    ) else {
        return;
    };
    let write = |to: &AtomicU32, value| to.store(value, Relaxed);
    let odd = version.load(Relaxed) | 1;
    write(version, odd);
    fence(Release);
    write(low, secs as u32);
    write(high, (secs >> 32) as u32);
    write(ns, nsecs);
    version.store(odd.wrapping_add(1), Release);
}
