//! Sets of CPUs or nodes, as the hypervisor's bitmaps.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// A set of numbers; its bytes are what `xenctl_bitmap` points to.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct CpuMap {
    bytes: Vec<u8>,
}

impl CpuMap {
    /// An empty set with room for the numbers below `count`.
    pub fn empty(count: usize) -> Self {
        Self {
            bytes: vec![0; count.div_ceil(8)],
        }
    }

    /// All numbers below `count`.
    pub fn all(count: usize) -> Self {
        let mut map = Self::empty(count);
        (0..count).for_each(|cpu| map.insert(cpu));
        map
    }

    /// Adds a number; one that there is no room for is left out.
    pub fn insert(&mut self, cpu: usize) {
        if let Some(byte) = self.bytes.get_mut(cpu / 8) {
            *byte |= 1 << (cpu % 8);
        }
    }

    /// Takes a number out.
    pub fn remove(&mut self, cpu: usize) {
        if let Some(byte) = self.bytes.get_mut(cpu / 8) {
            *byte &= !(1 << (cpu % 8));
        }
    }

    /// Is the number in it?
    pub fn contains(&self, cpu: usize) -> bool {
        self.bytes.get(cpu / 8).is_some_and(|byte| byte & 1 << (cpu % 8) != 0)
    }

    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.room()).filter(|cpu| self.contains(*cpu))
    }

    /// Has it no number?
    pub fn is_empty(&self) -> bool {
        self.bytes.iter().all(|byte| *byte == 0)
    }

    /// How many numbers it could hold.
    pub fn room(&self) -> usize {
        self.bytes.len() * 8
    }

    /// The bitmap.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bitmap, to be filled by the hypervisor.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl fmt::Debug for CpuMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_in_order() {
        let mut map = CpuMap::empty(9);
        for cpu in [8, 1, 99] {
            map.insert(cpu);
        }
        assert_eq!(map.iter().collect::<Vec<_>>(), [1, 8]);
        map.remove(1);
        assert!(!map.contains(1) && map.contains(8));
        assert_eq!(map.bytes(), [0, 1]);
    }
}
