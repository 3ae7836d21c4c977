//! Who may remember a translation: the arithmetic of flush epochs.
//!
//! Each full flush of a CPU starts a new epoch, and the CPU notes it. A frame is stamped with the present epoch when a
//! use of it ends. A CPU whose last flush started a later epoch than the stamp remembers nothing of that use.
//!
//! A stamp is the low half of a 64-bit epoch. It is read as the latest epoch, up to now, with that low half: a stamp that
//! is older than 2^32 flushes looks newer than it is, which costs a flush and no more.

/// May a CPU whose last flush started epoch `last` remember translations of the time of this stamp? `now` is the
/// present epoch, not older than the stamp.
#[inline]
pub const fn needs_flush(stamp: u32, now: u64, last: u64) -> bool {
    let age = (now as u32).wrapping_sub(stamp) as u64;
    // A stamp from before the first epoch is that of a frame that was never mapped.
    age < now && last <= now - age
}

/// The newer of two stamps.
#[inline]
pub const fn newer(a: u32, b: u32, now: u64) -> u32 {
    if (now as u32).wrapping_sub(a) <= (now as u32).wrapping_sub(b) {
        a
    } else {
        b
    }
}

/// The stamp of a frame that no translation leads to, as seen at `now` and for 2^31 flushes more.
#[inline]
pub const fn never(now: u64) -> u32 {
    (now as u32).wrapping_sub(1 << 31)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// A CPU that has not flushed since the stamp is always found.
        #[test]
        fn stale_cpus_are_found(now in 1u64.., age: u64, since: u64) {
            let taken = now.saturating_sub(age % now).max(1);
            let last = taken.saturating_sub(since);
            prop_assert!(needs_flush(taken as u32, now, last));
        }

        /// One that has flushed since is left alone, unless the stamp is very old.
        #[test]
        fn others_are_left_alone(taken in 1u64..1 << 60, later in 1u32.., more: u32) {
            let last = taken + u64::from(later);
            let now = last + u64::from(more);
            if now - taken < 1 << 32 {
                prop_assert!(!needs_flush(taken as u32, now, last));
            }
        }

        /// A frame that was never mapped asks nobody who has flushed in the last 2^31 flushes, and leaves others' stamps.
        #[test]
        fn what_was_never_mapped_is_oldest(now in 1u64.., later in 0u64..1 << 31, since in 0u64..1 << 31, other in 0u64..1 << 31) {
            let stamp = never(now);
            let then = now.saturating_add(later);
            prop_assert!(!needs_flush(stamp, then, then.saturating_sub(since).max(1)));
            let other = now.saturating_sub(other) as u32;
            prop_assert_eq!(newer(stamp, other, then), other);
        }

        #[test]
        fn the_newer_stamp_wins(now in 1u64 << 33.., a: u32, b: u32) {
            let (x, y) = (now - u64::from(a), now - u64::from(b));
            prop_assert_eq!(newer(x as u32, y as u32, now), x.max(y) as u32);
        }
    }
}
