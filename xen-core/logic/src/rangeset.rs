//! Sets of numbers kept as ranges: which I/O ports, machine frames or interrupt lines a domain may use.

use alloc::vec::Vec;

/// A set of numbers, held as sorted ranges that neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    /// Inclusive bounds.
    ranges: Vec<(u64, u64)>,
}

impl RangeSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// Adds `first..=last`. A `last` below `first` adds nothing.
    pub fn insert(&mut self, first: u64, last: u64) {
        if last < first {
            return;
        }
        // Ranges that overlap the new one or touch it are swallowed by it.
        let from = self.ranges.partition_point(|r| r.1 < first && first - r.1 > 1);
        let to = self.ranges.partition_point(|r| r.0 <= last || r.0 - last == 1);
        let mut merged = (first, last);
        if from < to {
            merged = (first.min(self.ranges[from].0), last.max(self.ranges[to - 1].1));
        }
        self.ranges.splice(from..to, [merged]);
    }

    /// Takes `first..=last` out.
    pub fn remove(&mut self, first: u64, last: u64) {
        if last < first {
            return;
        }
        let from = self.ranges.partition_point(|r| r.1 < first);
        let to = self.ranges.partition_point(|r| r.0 <= last);
        if from >= to {
            return;
        }
        let (low, high) = (self.ranges[from].0, self.ranges[to - 1].1);
        let below = (low < first).then(|| (low, first - 1));
        let above = (high > last).then(|| (last + 1, high));
        self.ranges.splice(from..to, below.into_iter().chain(above));
    }

    /// Is `value` in the set?
    #[inline]
    pub fn contains(&self, value: u64) -> bool {
        self.contains_range(value, value)
    }

    /// Is all of `first..=last` in the set?
    pub fn contains_range(&self, first: u64, last: u64) -> bool {
        let at = self.ranges.partition_point(|r| r.1 < first);
        first <= last && self.ranges.get(at).is_some_and(|r| r.0 <= first && last <= r.1)
    }

    /// Is any of `first..=last` in the set?
    pub fn overlaps(&self, first: u64, last: u64) -> bool {
        let at = self.ranges.partition_point(|r| r.1 < first);
        first <= last && self.ranges.get(at).is_some_and(|r| r.0 <= last)
    }

    /// The ranges, ascending, with inclusive bounds.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ranges.iter().copied()
    }

    /// What `first..=last` has that the set has not, ascending, with inclusive bounds.
    pub fn gaps(&self, first: u64, last: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut at = Some(first);
        let inside = self.ranges.iter().filter(move |r| r.1 >= first && r.0 <= last);
        let mut inside = inside.copied().map(Some).chain([None]);
        core::iter::from_fn(move || {
            loop {
                let next = inside.next()?;
                let start = at?;
                let end = match next {
                    Some((low, high)) => {
                        at = high.checked_add(1);
                        match low.checked_sub(1) {
                            Some(before) => before,
                            None => continue,
                        }
                    }
                    None => last,
                };
                if start <= end {
                    return Some((start, end));
                }
            }
        })
    }

    /// Has the set no member?
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::vec::Vec as StdVec;

    #[test]
    fn neighbours_merge_and_split() {
        let mut set = RangeSet::new();
        set.insert(10, 19);
        set.insert(30, 39);
        set.insert(20, 29);
        assert_eq!(set.iter().collect::<StdVec<_>>(), [(10, 39)]);
        set.remove(15, 34);
        assert_eq!(set.iter().collect::<StdVec<_>>(), [(10, 14), (35, 39)]);
        assert!(set.contains_range(10, 14) && !set.contains_range(10, 15) && set.overlaps(14, 20));
    }

    #[test]
    fn the_last_number_is_a_number() {
        let mut set = RangeSet::new();
        set.insert(0, u64::MAX);
        assert!(set.contains(u64::MAX));
        assert_eq!(set.gaps(0, u64::MAX).count(), 0);
        set.remove(5, 5);
        assert_eq!(set.gaps(0, u64::MAX).collect::<StdVec<_>>(), [(5, 5)]);
        set.remove(0, u64::MAX);
        assert!(set.is_empty());
        assert_eq!(set.gaps(3, 9).collect::<StdVec<_>>(), [(3, 9)]);
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_set(steps in proptest::collection::vec((any::<bool>(), 0u64..64, 0u64..16), 0..40)) {
            let mut set = RangeSet::new();
            let mut model = BTreeSet::new();
            for (add, first, len) in steps {
                let last = first + len;
                if add {
                    set.insert(first, last);
                    model.extend(first..=last);
                } else {
                    set.remove(first, last);
                    model.retain(|n| !(first..=last).contains(n));
                }
                for n in 0..96 {
                    prop_assert_eq!(set.contains(n), model.contains(&n));
                }
                let ranges: StdVec<_> = set.iter().collect();
                prop_assert!(ranges.windows(2).all(|w| w[0].1 + 1 < w[1].0));
                let gaps: BTreeSet<u64> = set.gaps(2, 80).flat_map(|(a, b)| a..=b).collect();
                let expected: BTreeSet<u64> = (2..=80).filter(|n| !model.contains(n)).collect();
                prop_assert_eq!(gaps, expected);
            }
        }
    }
}
