//! The firmware's memory map: sorted, without overlaps, of bounded size; and the machine map that Dom0 sees.

/// What a range of machine addresses is (`E820_*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kind(pub u32);

impl Kind {
    /// Usable memory.
    pub const RAM: Kind = Kind(1);
    /// Not to be touched.
    pub const RESERVED: Kind = Kind(2);
    /// ACPI tables, memory once they have been read.
    pub const ACPI: Kind = Kind(3);
    /// ACPI non-volatile storage.
    pub const NVS: Kind = Kind(4);
    /// Memory with errors.
    pub const UNUSABLE: Kind = Kind(5);

    /// Of two kinds that claim the same byte the more careful counts.
    const fn weight(self) -> u32 {
        match self.0 {
            1 => 0,
            3 => 1,
            4 => 2,
            2 => 4,
            5 => 5,
            // Kinds of later specifications.
            _ => 3,
        }
    }
}

/// One range: `start` up to, but without, `end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// First byte.
    pub start: u64,
    /// First byte after it.
    pub end: u64,
    /// What it is.
    pub kind: Kind,
}

/// Most ranges that a map holds, as in Xen's interface (`E820MAX`).
pub const MAX_RANGES: usize = 128;

const EMPTY: Range = Range {
    start: 0,
    end: 0,
    kind: Kind::RESERVED,
};

/// Sorted ranges that do not overlap; neighbours of the same kind are one.
#[derive(Clone, Debug)]
pub struct Map {
    ranges: [Range; MAX_RANGES],
    len: usize,
    /// Ranges were left out for want of room.
    pub overflowed: bool,
}

impl Default for Map {
    fn default() -> Self {
        Self::new()
    }
}

impl Map {
    /// A map without ranges.
    pub const fn new() -> Self {
        Self {
            ranges: [EMPTY; MAX_RANGES],
            len: 0,
            overflowed: false,
        }
    }

    /// Builds a map of ranges in any order, overlapping or not; empty ones and those that wrap are dropped.
    pub fn sanitise(input: impl IntoIterator<Item = Range>) -> Self {
        let mut map = Self::new();
        for range in input {
            map.insert(range);
        }
        map
    }

    /// The ranges in ascending order.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges[..self.len]
    }

    /// The memory that can be used.
    pub fn ram(&self) -> impl Iterator<Item = Range> {
        self.ranges().iter().copied().filter(|r| r.kind == Kind::RAM)
    }

    /// First byte after the last usable memory.
    pub fn ram_end(&self) -> u64 {
        self.ram().last().map_or(0, |r| r.end)
    }

    /// Adds a range; where it overlaps, the more careful kind counts.
    pub fn insert(&mut self, new: Range) {
        if new.start >= new.end {
            return;
        }
        let old = self.clone();
        self.len = 0;
        // Between two neighbouring cuts the kind does not change.
        let mut at = 0;
        while let Some(next) = old.next_cut(new, at) {
            let known = old
                .ranges()
                .iter()
                .find(|r| r.start <= at && at < r.end)
                .map(|r| r.kind);
            let added = (new.start <= at && at < new.end).then_some(new.kind);
            let kind = match (known, added) {
                (Some(a), Some(b)) => Some(if b.weight() > a.weight() { b } else { a }),
                (a, b) => a.or(b),
            };
            if let Some(kind) = kind {
                self.append(Range {
                    start: at,
                    end: next,
                    kind,
                });
            }
            at = next;
        }
    }

    /// The first start or end after `at`, of this map's ranges and of `new`.
    fn next_cut(&self, new: Range, at: u64) -> Option<u64> {
        let ends = self
            .ranges()
            .iter()
            .chain(core::iter::once(&new))
            .flat_map(|r| [r.start, r.end]);
        ends.filter(|cut| *cut > at).min()
    }

    /// Appends a range that begins at or after the last one's end.
    fn append(&mut self, range: Range) {
        if let Some(last) = self.ranges[..self.len].last_mut()
            && last.end == range.start
            && last.kind == range.kind
        {
            last.end = range.end;
            return;
        }
        match self.ranges.get_mut(self.len) {
            Some(slot) => {
                *slot = range;
                self.len += 1;
            }
            None => self.overflowed = true,
        }
    }

    /// This map with `denied` as reserved: what Dom0 is told, so that it puts no device there
    /// (`XENMEM_machine_memory_map`).
    pub fn with_reserved(&self, denied: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut map = self.clone();
        for (start, end) in denied {
            map.insert(Range {
                start,
                end,
                kind: Kind::RESERVED,
            });
        }
        map
    }

    /// Is every byte of `start..end` in one range of this kind?
    pub fn covers(&self, start: u64, end: u64, kind: Kind) -> bool {
        self.ranges()
            .iter()
            .any(|r| r.kind == kind && r.start <= start && end <= r.end)
    }
}

#[cfg(test)]
#[path = "e820_tests.rs"]
mod tests;
