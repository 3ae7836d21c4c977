//! Memory before there is an allocator: taken from the top of what the firmware's map gives, never given back.

use crate::mm::layout::PAGE_SIZE;
use xen_logic::e820::Map;

/// Ranges of free memory it can keep apart.
const MAX_FREE: usize = 160;

/// The free memory.
pub struct EarlyAlloc {
    free: [(u64, u64); MAX_FREE],
    len: usize,
    taken: u64,
}

const fn page_up(addr: u64) -> u64 {
    (addr + PAGE_SIZE - 1) & !(PAGE_SIZE - 1)
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
