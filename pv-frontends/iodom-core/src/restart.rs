//! Whether a guest that has rebooted is started anew.
use core::time::Duration;

/// A life that ends within so long is a short one.
const SHORT: Duration = Duration::from_secs(2);
/// So many short lives in a row, and the guest is left alone: to build guests is work that the others wait for.
const MOST: u32 = 5;

/// A guest's life, and how many short ones were before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Life {
    began: Duration,
    short: u32,
}

impl Life {
    /// The first one.
    pub fn begin(now: Duration) -> Self {
        Self { began: now, short: 0 }
    }

    /// The next one, after this one has ended; none where it is to be the last.
    pub fn next(self, now: Duration) -> Option<Self> {
        let is_short = now.saturating_sub(self.began) < SHORT;
        let short = if is_short { self.short + 1 } else { 0 };
        (short < MOST).then_some(Self { began: now, short })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_only_reboots_is_left_alone() {
        let mut life = Life::begin(Duration::ZERO);
        for round in 1..MOST {
            life = life
                .next(Duration::from_millis(u64::from(round) * 100))
                .expect("another life");
        }
        assert_eq!(life.next(Duration::from_millis(1000)), None);
        let later = life.next(Duration::from_secs(60)).expect("a long life is no fault");
        assert!(later.next(Duration::from_secs(60)).is_some());
    }
}
