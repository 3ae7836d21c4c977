//! Grace periods: when each CPU has let go of everything since some moment.
//!
//! Whoever hides something and then begins a period may destroy it when the period has passed on every CPU, provided
//! that a CPU holds what it found only until it notes that it has let go. `tests/loom_quiesce.rs` tries all orders.

/// An atomic number; all its operations are at least acquiring or releasing.
pub trait Number {
    /// Its value.
    fn load(&self) -> u64;
    /// Sets it.
    fn store(&self, value: u64);
    /// Adds one; gives the new value.
    fn increment(&self) -> u64;
}

/// Begins a period, after hiding what must not be found any more; gives its number.
pub fn begin<N: Number>(last: &N) -> u64 {
    last.increment()
}

/// A CPU, whose number is `seen`, holds nothing that it has found.
pub fn note<N: Number>(last: &N, seen: &N) {
    seen.store(last.load());
}

/// Has the CPU let go of everything since period `number` began?
pub fn has_passed<N: Number>(seen: &N, number: u64) -> bool {
    seen.load() >= number
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use core::cell::Cell;

    impl Number for Cell<u64> {
        fn load(&self) -> u64 {
            self.get()
        }
        fn store(&self, value: u64) {
            self.set(value);
        }
        fn increment(&self) -> u64 {
            self.set(self.get() + 1);
            self.get()
        }
    }

    #[test]
    fn a_period_passes_with_a_later_note_only() {
        let (last, seen) = (Cell::new(0), Cell::new(0));
        note(&last, &seen);
        let first = begin(&last);
        assert!(!has_passed(&seen, first));
        let second = begin(&last);
        note(&last, &seen);
        assert!(has_passed(&seen, first) && has_passed(&seen, second));
        assert!(!has_passed(&seen, begin(&last)));
    }
}
