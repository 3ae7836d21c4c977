/// Length of an accounting period, in nanoseconds.
const PERIOD: u64 = 10_000_000;
/// For how many periods a quota can be made up for. A CPU that others have for longer than a period must not cost a
/// domain what it is allowed, or it would get less than its cap; one that has slept for long must not have much more.
const MAKE_UP: i64 = 16;

/// A domain's cap: how much CPU time its vcpus may use together in each period. What is used beyond it is owed by
/// the next periods; what is not used may be made up for soon, or is lost.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Nanoseconds a period, 0 for no cap.
    quota: i64,
    left: i64,
    period_end: u64,
}

impl Budget {
    /// No cap.
    pub const fn unlimited() -> Self {
        Budget {
            quota: 0,
            left: 0,
            period_end: 0,
        }
    }

    /// A cap in percent of one CPU, 0 for none, from `now` on.
    pub fn new(percent: u32, now: u64) -> Self {
        let quota = percent as i64 * (PERIOD / 100) as i64;
        Budget {
            quota,
            left: quota,
            period_end: now.saturating_add(PERIOD),
        }
    }

    /// Is there a cap?
    #[inline]
    pub fn is_limited(&self) -> bool {
        self.quota != 0
    }

    /// Accounts for `ran` nanoseconds that ended at `now`.
    pub fn charge(&mut self, ran: u64, now: u64) {
        if self.is_limited() {
            self.refill(now);
            self.left = self.left.saturating_sub(ran.min(i64::MAX as u64) as i64);
        }
    }

    /// How long a vcpu may run from `now` on: `Err(when)` where it must first wait until then.
    ///
    /// # Errors
    /// The end of the period that has something left.
    pub fn allowance(&mut self, now: u64) -> Result<u64, u64> {
        if !self.is_limited() {
            return Ok(u64::MAX);
        }
        self.refill(now);
        if self.left > 0 {
            return Ok(self.left as u64);
        }
        let periods = (-self.left / self.quota) as u64;
        Err(self.period_end.saturating_add(periods.saturating_mul(PERIOD)))
    }

    fn refill(&mut self, now: u64) {
        if now >= self.period_end {
            let periods = (now - self.period_end) / PERIOD + 1;
            let gained = (periods.min(1 << 32) as i64).saturating_mul(self.quota);
            self.left = self.left.saturating_add(gained).min(self.quota.saturating_mul(MAKE_UP));
            self.period_end = self.period_end.saturating_add(periods.saturating_mul(PERIOD));
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn without_a_cap_nothing_waits() {
        let mut b = Budget::unlimited();
        b.charge(u64::MAX, 5);
        assert_eq!(b.allowance(5), Ok(u64::MAX));
        assert!(!Budget::new(0, 0).is_limited());
    }

    #[test]
    fn debt_is_paid_before_the_next_turn() {
        let mut b = Budget::new(10, 0);
        assert_eq!(b.allowance(0), Ok(PERIOD / 10));
        b.charge(PERIOD / 10 + 2 * PERIOD / 10, PERIOD / 2);
        assert_eq!(b.allowance(PERIOD / 2), Err(3 * PERIOD));
        assert!(b.allowance(3 * PERIOD - 1).is_err());
        assert!(b.allowance(3 * PERIOD).is_ok());
    }

    #[test]
    fn what_others_kept_from_it_is_made_up_for() {
        let mut b = Budget::new(30, 0);
        let (mut now, mut ran) = (0, 0);
        // Somebody else has the CPU for 50 ms in every 100; in between it runs whenever it may.
        while now < 10_000_000_000 {
            let free_until = now / 100_000_000 * 100_000_000 + 50_000_000;
            if now >= free_until {
                now = free_until + 50_000_000;
                continue;
            }
            match b.allowance(now) {
                Ok(left) => {
                    let turn = left.min(free_until - now).min(1_000_000);
                    now += turn;
                    ran += turn;
                    b.charge(turn, now);
                }
                Err(until) => now = until.min(free_until),
            }
        }
        assert!((ran * 100).abs_diff(now * 30) * 20 < now * 30, "{ran} of {now}");
    }

    #[test]
    fn a_long_sleep_earns_little() {
        let mut b = Budget::new(10, 0);
        assert_eq!(b.allowance(1 << 40), Ok(PERIOD / 10 * MAKE_UP as u64));
    }

    proptest! {
        /// One that runs whenever it may, in turns of up to a slice, gets its cap.
        #[test]
        fn long_run_share_is_the_cap(percent in 1u32..100, turn in 100_000u64..5_000_000) {
            let mut b = Budget::new(percent, 0);
            let (mut now, mut ran) = (0u64, 0u64);
            while now < 10_000_000_000 {
                match b.allowance(now) {
                    Ok(left) => {
                        let t = turn.min(left);
                        now += t;
                        ran += t;
                        b.charge(t, now);
                    }
                    Err(until) => {
                        prop_assert!(until > now);
                        now = until;
                    }
                }
            }
            // Within 5 % of the share, and a tenth of a percent of the time for its ends.
            let (got, wanted) = (u128::from(ran) * 100, u128::from(now) * u128::from(percent));
            prop_assert!(got.abs_diff(wanted) * 20 < wanted + u128::from(now) * 2, "{ran} of {now}, {percent} %");
        }
    }
}
