//! How much of the daemon's work one guest may cause: a bucket of bytes that fills with time.
//!
//! A guest beyond its allowance is not punished: its event channel stays masked until the bucket holds something again,
//! so it waits with a full ring, and all others are served meanwhile.

use std::time::{Duration, Instant};

/// What an event costs in bytes, even one that brings none: work is work.
pub const EVENT_COST: u64 = 64;

/// A bucket of `burst` bytes that gains `rate` bytes a second.
#[derive(Debug, Clone)]
pub struct Allowance {
    rate: u64,
    burst: u64,
    level: u64,
    /// Up to when `level` was counted.
    counted: Instant,
}

impl Allowance {
    /// A full bucket. Neither `rate` nor `burst` may be less than one event's cost, so that time always helps.
    pub fn new(rate: u64, burst: u64, now: Instant) -> Self {
        let (rate, burst) = (rate.max(EVENT_COST), burst.max(EVENT_COST));
        Self {
            rate,
            burst,
            level: burst,
            counted: now,
        }
    }

    /// Pays for one event that brought `bytes`. The level may be overdrawn by no more than what one event brings.
    pub fn pay(&mut self, bytes: usize, now: Instant) {
        self.fill(now);
        self.level = self.level.saturating_sub(EVENT_COST + bytes as u64);
    }

    /// `None` if the guest may be served now, otherwise when to look again.
    pub fn wait_until(&mut self, now: Instant) -> Option<Instant> {
        self.fill(now);
        if self.level >= EVENT_COST {
            return None;
        }
        // A quarter of a bucket at once, so that a noisy guest costs few wake-ups.
        let missing = (self.burst / 4).max(EVENT_COST) - self.level.min(EVENT_COST);
        Some(now + Duration::from_micros(missing.saturating_mul(1_000_000).div_ceil(self.rate)))
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.counted);
        let gain = u128::from(self.rate) * passed.as_micros() / 1_000_000;
        if gain > 0 {
            self.level = self
                .burst
                .min(self.level.saturating_add(u64::try_from(gain).unwrap_or(u64::MAX)));
            self.counted = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nobody_gets_more_than_burst_and_rate(rate in 64u64..1_000_000, burst in 64u64..100_000, chunks in prop::collection::vec((0usize..2049, 0u64..50_000), 1..200)) {
            let start = Instant::now();
            let mut now = start;
            let mut bucket = Allowance::new(rate, burst, now);
            let mut paid = 0u64;
            for (bytes, pause) in chunks {
                match bucket.wait_until(now) {
                    None => {
                        bucket.pay(bytes, now);
                        paid += EVENT_COST + bytes as u64;
                    }
                    Some(until) => {
                        prop_assert!(until > now);
                        now = until;
                        prop_assert_eq!(bucket.wait_until(now), None);
                    }
                }
                now += Duration::from_micros(pause);
            }
            let earned = u128::from(rate) * (now - start).as_micros() / 1_000_000;
            // One event may overdraw the bucket each time it is nearly empty.
            let overdraft = 2048 * (u128::from(paid) / u128::from(EVENT_COST)).min(200);
            prop_assert!(u128::from(paid) <= u128::from(burst) + earned + overdraft);
        }

        #[test]
        fn a_flood_is_held_to_the_rate(rate in 10_000u64..1_000_000) {
            let start = Instant::now();
            let mut now = start;
            let mut bucket = Allowance::new(rate, 10_000, now);
            let mut bytes = 0u64;
            while now < start + Duration::from_secs(10) {
                match bucket.wait_until(now) {
                    None => { bucket.pay(1000, now); bytes += 1000; }
                    Some(until) => now = until,
                }
            }
            let fair = 10_000 + rate * 10;
            prop_assert!(bytes <= fair + fair / 2, "{} of {}", bytes, fair);
            prop_assert!(bytes >= fair / 2, "{} of {}", bytes, fair);
        }
    }

    #[test]
    fn a_quiet_guest_is_never_held() {
        let mut now = Instant::now();
        let mut bucket = Allowance::new(1000, 4096, now);
        for _ in 0..1000 {
            assert_eq!(bucket.wait_until(now), None);
            bucket.pay(100, now);
            now += Duration::from_millis(200);
        }
    }
}
