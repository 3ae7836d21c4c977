//! Interrupt vectors for devices.
//!
//! A vector means the same line on every CPU, so that moving a line to another CPU changes its destination
//! only, which is one write.

/// First vector for devices; the CPU's own exceptions stand below.
pub const FIRST_DEVICE: u8 = 0x20;
/// Last vector for devices; the hypervisor's own interrupts stand above.
pub const LAST_DEVICE: u8 = 0xef;

/// Not for devices: `int 0x80` of a guest's user space comes in by this gate.
const RESERVED: u8 = 0x80;

/// Which device vectors are taken.
#[derive(Clone, Debug)]
pub struct Vectors {
    taken: [u64; 4],
}

impl Default for Vectors {
    fn default() -> Self {
        Self::new()
    }
}

impl Vectors {
    /// All free.
    pub const fn new() -> Self {
        let mut taken = [0; 4];
        taken[(RESERVED >> 6) as usize] = 1 << (RESERVED & 63);
        Self { taken }
    }

    /// Takes `count` consecutive vectors, the first a multiple of `count`, as multi-message MSI wants them;
    /// `count` is a power of two up to 32. `None` where there is no room.
    pub fn alloc(&mut self, count: u8) -> Option<u8> {
        if !count.is_power_of_two() || count > 32 {
            return None;
        }
        let mask = (1u64 << count) - 1;
        let starts = (FIRST_DEVICE..=LAST_DEVICE).step_by(count as usize);
        for first in starts.filter(|f| *f as u32 + count as u32 - 1 <= LAST_DEVICE as u32) {
            let word = &mut self.taken[(first >> 6) as usize];
            let mask = mask << (first & 63);
            if *word & mask == 0 {
                *word |= mask;
                return Some(first);
            }
        }
        None
    }

    /// Gives one vector back.
    pub fn free(&mut self, vector: u8) {
        if (FIRST_DEVICE..=LAST_DEVICE).contains(&vector) && vector != RESERVED {
            self.taken[(vector >> 6) as usize] &= !(1 << (vector & 63));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_vectors_are_distinct_and_in_range() {
        let mut vectors = Vectors::new();
        let mut seen = std::collections::BTreeSet::new();
        while let Some(v) = vectors.alloc(1) {
            assert!((FIRST_DEVICE..=LAST_DEVICE).contains(&v) && v != RESERVED);
            assert!(seen.insert(v));
        }
        assert_eq!(seen.len(), 0xf0 - 0x20 - 1);
        vectors.free(0x41);
        vectors.free(RESERVED);
        assert_eq!(vectors.alloc(1), Some(0x41));
        assert_eq!(vectors.alloc(1), None);
    }

    #[test]
    fn blocks_are_aligned_and_do_not_overlap() {
        let mut vectors = Vectors::new();
        let one = vectors.alloc(1).unwrap();
        let block = vectors.alloc(16).unwrap();
        assert_eq!(block % 16, 0);
        assert!(!(block..block + 16).contains(&one));
        let big = vectors.alloc(32).unwrap();
        assert_eq!(big % 32, 0);
        assert_eq!(vectors.alloc(3), None);
        assert_eq!(vectors.alloc(64), None);
        for v in block..block + 16 {
            vectors.free(v);
        }
        assert_eq!(vectors.alloc(16), Some(block));
    }
}
