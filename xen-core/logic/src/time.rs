//! Time arithmetic: ticks to nanoseconds and back as Xen's clock pages state it, and a vcpu's time by state.

/// Nanoseconds in a second.
pub const NS_PER_SEC: u64 = 1_000_000_000;

/// A rate between two clocks: `out = (in shifted by shift) * mul / 2^32`, the form of `vcpu_time_info`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scale {
    /// The factor after the shift, a 0.32 fraction; its top bit is set unless the rate is zero.
    pub mul: u32,
    /// Left shift of the input where positive, right shift where negative.
    pub shift: i8,
}

impl Scale {
    /// One to one.
    pub const IDENTITY: Scale = Scale { mul: 1 << 31, shift: 1 };

    /// From ticks of a clock of `from_hz` to ticks of one of `to_hz`. Both must be in 1..=2^63 and their ratio
    /// within 2^±62; what does not fit saturates at the nearest rate that does.
    pub const fn between(from_hz: u64, to_hz: u64) -> Scale {
        if from_hz == 0 || to_hz == 0 {
            return Scale { mul: 0, shift: 0 };
        }
        // Bring the quotient into [2^31, 2^32): then the fraction keeps its 32 significant bits.
        let mut shift: i8 = 0;
        let mut num = (to_hz as u128) << 32;
        let den = from_hz as u128;
        while num / den >= 1 << 32 && shift < 62 {
            num >>= 1;
            shift += 1;
        }
        while num / den < 1 << 31 && shift > -62 {
            num <<= 1;
            shift -= 1;
        }
        let mul = num / den;
        Scale {
            mul: if mul > u32::MAX as u128 { u32::MAX } else { mul as u32 },
            shift,
        }
    }

    /// From ticks of a clock of `hz` to nanoseconds.
    pub const fn to_ns(hz: u64) -> Scale {
        Scale::between(hz, NS_PER_SEC)
    }

    /// From nanoseconds to ticks of a clock of `hz`.
    pub const fn from_ns(hz: u64) -> Scale {
        Scale::between(NS_PER_SEC, hz)
    }

    /// Converts; wraps where the result has more than 64 bits, as the guests' own arithmetic does.
    #[inline]
    pub const fn apply(self, ticks: u64) -> u64 {
        // One 64 by 64 multiplication; the shift of a 96-bit product is what `shrd` does.
        let shifted = if self.shift >= 0 {
            ticks.wrapping_shl(self.shift as u32)
        } else {
            ticks.wrapping_shr(-(self.shift as i32) as u32)
        };
        ((shifted as u128 * self.mul as u128) >> 32) as u64
    }

    /// The clock rate in Hz whose ticks this scale turns into nanoseconds; 0 for a zero rate.
    pub const fn ticks_per_sec(self) -> u64 {
        if self.mul == 0 {
            return 0;
        }
        let base = ((NS_PER_SEC as u128) << 32) / self.mul as u128;
        if self.shift >= 0 {
            (base >> self.shift) as u64
        } else {
            (base << -(self.shift as i32)) as u64
        }
    }
}

/// Splits nanoseconds into seconds and the rest.
pub const fn split_seconds(ns: u64) -> (u64, u32) {
    (ns / NS_PER_SEC, (ns % NS_PER_SEC) as u32)
}

/// What a vcpu is doing; the values are the interface's `RUNSTATE_*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum State {
    /// On a CPU.
    Running = 0,
    /// Could run, and waits for a CPU.
    Runnable = 1,
    /// Waits for an event.
    Blocked = 2,
    /// Down or paused.
    Offline = 3,
}

/// How long a vcpu has been in each state. The sum of the times is the time since the first entry.
#[derive(Clone, Copy, Debug)]
pub struct RunState {
    /// The present state.
    pub state: State,
    /// When it began.
    pub since: u64,
    /// Nanoseconds in each state, the present one up to `since`.
    pub spent: [u64; 4],
}

impl RunState {
    /// In `state` since `now`.
    pub const fn new(state: State, now: u64) -> Self {
        RunState {
            state,
            since: now,
            spent: [0; 4],
        }
    }

    /// Enters `state` at `now`; returns how long the last one lasted. A clock that went back counts as no time.
    #[inline]
    pub fn enter(&mut self, state: State, now: u64) -> u64 {
        let lasted = now.saturating_sub(self.since);
        self.spent[self.state as usize] += lasted;
        self.since += lasted;
        self.state = state;
        lasted
    }

    /// The times as of `now`.
    pub fn at(&self, now: u64) -> [u64; 4] {
        let mut spent = self.spent;
        spent[self.state as usize] += now.saturating_sub(self.since);
        spent
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn identity_is_exact() {
        for n in [0, 1, 12345, u64::MAX >> 1] {
            assert_eq!(Scale::IDENTITY.apply(n), n);
            assert_eq!(Scale::between(NS_PER_SEC, NS_PER_SEC).apply(n), n);
        }
    }

    #[test]
    fn a_second_is_a_second() {
        for hz in [1_000, 32_768, 3_579_545, 1_000_000_000, 2_893_202_000, 10_000_000_000] {
            let ns = Scale::to_ns(hz).apply(hz);
            assert!(ns.abs_diff(NS_PER_SEC) <= 1 + NS_PER_SEC / hz, "{hz}: {ns}");
            assert!(
                Scale::to_ns(hz).ticks_per_sec().abs_diff(hz) <= 1 + hz / 1_000_000_000,
                "{hz}"
            );
        }
    }

    #[test]
    fn degenerate_rates_do_not_panic() {
        assert_eq!(Scale::between(0, 5).apply(77), 0);
        assert_eq!(Scale::between(5, 0).apply(77), 0);
        let _ = Scale::between(1, 1 << 63).apply(3);
        let _ = Scale::between(1 << 63, 1).apply(u64::MAX);
        assert_eq!(Scale::between(0, 5).ticks_per_sec(), 0);
    }

    #[test]
    fn a_clock_that_goes_back_costs_nothing() {
        let mut r = RunState::new(State::Running, 100);
        assert_eq!(r.enter(State::Blocked, 50), 0);
        assert_eq!(r.since, 100);
        assert_eq!(r.at(90), [0; 4]);
    }

    proptest! {
        #[test]
        fn scale_is_close_to_the_ratio(from in 1_000u64..20_000_000_000, to in 1_000u64..20_000_000_000, t in 0u64..1 << 44) {
            let exact = t as u128 * to as u128 / from as u128;
            let got = Scale::between(from, to).apply(t) as u128;
            // 32 significant bits, and a right shift of the input drops at most the ticks below one unit.
            let slack = (exact >> 30) + 2 + to.div_ceil(from) as u128 * 2;
            prop_assert!(exact.abs_diff(got) <= slack, "{exact} {got}");
        }

        #[test]
        fn scale_is_monotonic(hz in 1_000u64..20_000_000_000, t in 0u64..1 << 50, d in 0u64..1 << 40) {
            let s = Scale::to_ns(hz);
            if (t + d) < 1 << 50 {
                prop_assert!(s.apply(t) <= s.apply(t + d));
            }
        }

        #[test]
        fn there_and_back(hz in 1_000_000u64..20_000_000_000, ns in 0u64..1 << 50) {
            let back = Scale::to_ns(hz).apply(Scale::from_ns(hz).apply(ns));
            prop_assert!(back.abs_diff(ns) <= (ns >> 29) + 2 * (NS_PER_SEC / hz) + 4);
        }

        #[test]
        fn run_states_add_up(steps in prop::collection::vec((0u8..4, 0u64..1 << 40), 0..50)) {
            let mut now = 1000;
            let mut r = RunState::new(State::Offline, now);
            for (state, pause) in steps {
                now += pause;
                let state = [State::Running, State::Runnable, State::Blocked, State::Offline][state as usize];
                r.enter(state, now);
                prop_assert_eq!(r.at(now + 7).iter().sum::<u64>(), now + 7 - 1000);
            }
        }
    }
}
