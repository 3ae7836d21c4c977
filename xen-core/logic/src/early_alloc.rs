//! Memory before there is an allocator: taken from the top of what the firmware's map gives, never given back.

use crate::e820::Map;

const PAGE_SIZE: u64 = 4096;

/// Ranges of free memory it can keep apart.
const MAX_FREE: usize = 160;

/// The free memory: ranges of whole pages that do not overlap.
pub struct EarlyAlloc {
    free: [(u64, u64); MAX_FREE],
    len: usize,
    taken: u64,
}

const fn page_up(addr: u64) -> u64 {
    (addr + PAGE_SIZE - 1) & !(PAGE_SIZE - 1)
}

impl Default for EarlyAlloc {
    fn default() -> Self {
        Self::new()
    }
}

impl EarlyAlloc {
    /// Nothing free.
    pub const fn new() -> Self {
        Self {
            free: [(0, 0); MAX_FREE],
            len: 0,
            taken: 0,
        }
    }

    /// All whole pages of RAM at or above `from`.
    pub fn fill(&mut self, map: &Map, from: u64) {
        for r in map.ram() {
            self.add(page_up(r.start).max(from), r.end & !(PAGE_SIZE - 1));
        }
    }

    fn add(&mut self, start: u64, end: u64) {
        if start < end && self.len < MAX_FREE {
            self.free[self.len] = (start, end);
            self.len += 1;
        }
    }

    /// Takes every page that `start..end` touches out of the free memory.
    pub fn reserve(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let (start, end) = (start & !(PAGE_SIZE - 1), page_up(end));
        for i in 0..self.len {
            let (s, e) = self.free[i];
            if s < end && start < e {
                self.free[i] = (s, start.max(s));
                self.add(end.min(e), e);
            }
        }
    }

    /// Takes `len` bytes, whole pages, at a multiple of `align` and below `limit`, from the highest place.
    pub fn take(&mut self, len: u64, align: u64, limit: u64) -> Option<u64> {
        let len = page_up(len);
        let place = |&(s, e): &(u64, u64)| {
            let at = e.min(limit).checked_sub(len)? & !(align - 1);
            (at >= s && s < e).then_some(at)
        };
        let (i, at) = (0..self.len)
            .filter_map(|i| Some((i, place(&self.free[i])?)))
            .max_by_key(|(_, at)| *at)?;
        let (s, e) = self.free[i];
        self.free[i] = (s, at);
        self.add(at + len, e);
        self.taken += len;
        Some(at)
    }

    /// Bytes taken so far.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Bytes still free.
    pub fn left(&self) -> u64 {
        self.free[..self.len].iter().map(|(s, e)| e - s).sum()
    }

    /// Gives all that is left to `to`, and is empty then.
    pub fn hand_over(&mut self, mut to: impl FnMut(u64, u64)) {
        for &(s, e) in &self.free[..self.len] {
            if s < e {
                to(s, e);
            }
        }
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::e820::{Kind, Range};
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn with_ram(ranges: &[(u64, u64)]) -> EarlyAlloc {
        let ram = |(start, end): &(u64, u64)| Range {
            start: *start,
            end: *end,
            kind: Kind::RAM,
        };
        let mut early = EarlyAlloc::new();
        early.fill(&Map::sanitise(ranges.iter().map(ram)), 1 << 20);
        early
    }

    #[test]
    fn takes_from_the_top_below_the_limit() {
        let mut early = with_ram(&[(0, 0x9_fc00), (1 << 20, 2 << 30), (4 << 30, 6 << 30)]);
        assert_eq!(early.take(4096, 4096, u64::MAX), Some((6 << 30) - 4096));
        assert_eq!(early.take(4096, 4096, 4 << 30), Some((2 << 30) - 4096));
        assert_eq!(early.take(1, 2 << 20, 4 << 30), Some((2 << 30) - (2 << 20)));
        assert_eq!(early.take(3 << 30, 4096, u64::MAX), None);
    }

    #[test]
    fn reserved_pages_are_not_handed_over() {
        let mut early = with_ram(&[(1 << 20, 4 << 20)]);
        early.reserve(0x20_0001, 0x20_1001);
        let mut left = Vec::new();
        early.hand_over(|s, e| left.push((s, e)));
        assert_eq!(left, [(0x10_0000, 0x20_0000), (0x20_2000, 0x40_0000)]);
        assert_eq!(early.left(), 0);
    }

    proptest! {
        #[test]
        fn every_byte_has_one_owner(
            reserved in proptest::collection::vec((0u64..64, 0u64..16), 0..4),
            asked in proptest::collection::vec((1u64..6, 0u32..4, 0u64..80), 0..20),
        ) {
            let page = |n: u64| (1 << 20) + n * PAGE_SIZE;
            let mut early = with_ram(&[(page(0), page(32)), (page(40), page(64))]);
            let mut owned = [false; 80];
            owned[32..40].fill(true);
            owned[64..].fill(true);
            let mut own = |start: u64, end: u64, twice: bool| {
                for n in (start - (1 << 20)) / PAGE_SIZE..(end - (1 << 20)) / PAGE_SIZE {
                    assert!(twice || !owned[n as usize], "page {n} twice");
                    owned[n as usize] = true;
                }
            };
            for (first, count) in reserved {
                early.reserve(page(first), page(first + count));
                own(page(first), page(first + count), true);
            }
            for (count, align, limit) in asked {
                let (len, align, limit) = (count * PAGE_SIZE, PAGE_SIZE << align, page(limit));
                if let Some(at) = early.take(len, align, limit) {
                    prop_assert!(at % align == 0 && at + len <= limit);
                    own(at, at + len, false);
                }
            }
            early.hand_over(|start, end| own(start, end, false));
            prop_assert!(owned.iter().all(|o| *o), "nothing is lost");
        }
    }
}
