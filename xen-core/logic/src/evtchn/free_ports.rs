//! Which ports of a domain are free: a set in three levels of bits, so that the lowest free port is found in a few
//! steps however many there are.

use super::fifo::PORTS;
use alloc::vec::Vec;
use xen_abi::Errno;

/// Ports in a group, for which memory is taken at once.
const GROUP: u32 = 64 * 64;
const GROUPS: usize = (PORTS / GROUP) as usize;

/// The ports of one group.
struct Group {
    /// By word: has it a free port?
    open: u64,
    /// By port: is it free? 64 words, or none until the first port of the group is taken.
    free: Vec<u64>,
}

/// The free ports of a domain; port 0 is never one.
pub struct FreePorts {
    /// By group: has it a free port?
    open: u32,
    /// Empty until the first port is taken; a group without words has free ports only.
    groups: Vec<Group>,
    used: u32,
}

impl Default for FreePorts {
    fn default() -> Self {
        Self::new()
    }
}

/// The bits of a word from bit `from` on.
const fn from_bit(word: u64, from: u32) -> u64 {
    word & (u64::MAX << from)
}

impl Group {
    /// Takes memory for the words: all free, but for port 0 in the first group.
    fn fill(&mut self, first: bool) -> Result<(), Errno> {
        if self.free.is_empty() {
            self.free.try_reserve_exact(64).map_err(|_| Errno::ENOMEM)?;
            self.free.resize(64, u64::MAX);
            self.free[0] -= first as u64;
        }
        Ok(())
    }

    /// The lowest free port of the group from `from` on.
    fn next_free(&self, from: u32) -> Option<u32> {
        let (word, bit) = (from / 64, from % 64);
        let here = from_bit(self.free[word as usize], bit);
        if here != 0 {
            return Some(word * 64 + here.trailing_zeros());
        }
        let open = if word == 63 { 0 } else { from_bit(self.open, word + 1) };
        let word = open.trailing_zeros();
        let bits = self.free.get(word as usize)?;
        Some(word * 64 + bits.trailing_zeros())
    }
}

impl FreePorts {
    /// All ports are free.
    pub const fn new() -> Self {
        FreePorts {
            open: u32::MAX,
            groups: Vec::new(),
            used: 0,
        }
    }

    fn group(&self, index: u32) -> Option<&Group> {
        self.groups.get(index as usize).filter(|group| !group.free.is_empty())
    }

    /// How many are not free.
    pub const fn used(&self) -> u32 {
        self.used
    }

    /// The lowest free port from `from` on.
    pub fn next_free(&self, from: u32) -> Option<u32> {
        let from = from.max(1);
        if from >= PORTS {
            return None;
        }
        let mut index = from / GROUP;
        let mut start = from % GROUP;
        loop {
            match self.group(index) {
                None => return Some(index * GROUP + start),
                Some(group) => {
                    if let Some(port) = group.next_free(start) {
                        return Some(index * GROUP + port);
                    }
                }
            }
            // Groups before the last have a successor; `open` has no bit beyond the last.
            let open = from_bit(self.open.into(), index + 1) as u32;
            (index, start) = (open.trailing_zeros(), 0);
            if index as usize >= GROUPS {
                return None;
            }
        }
    }

    /// The lowest port from `from` on that is not free.
    pub fn next_used(&self, from: u32) -> Option<u32> {
        let from = from.max(1);
        let words = (0u32..).zip(&self.groups);
        let words = words.flat_map(|(i, g)| (0u32..).zip(&g.free).map(move |(w, free)| (i * 64 + w, !free)));
        for (word, used) in words.skip_while(|(word, _)| *word < from / 64) {
            let low = if word == from / 64 { from % 64 } else { 0 };
            // Port 0 stands as used in its word, and `low` is above it.
            let used = from_bit(used, low) & !((word == 0) as u64);
            if used != 0 {
                return Some(word * 64 + used.trailing_zeros());
            }
        }
        None
    }

    /// Takes a free port.
    ///
    /// # Errors
    /// `EINVAL` for one that is not free, `ENOMEM`.
    pub fn take(&mut self, port: u32) -> Result<(), Errno> {
        if port == 0 || port >= PORTS {
            return Err(Errno::EINVAL);
        }
        if self.groups.is_empty() {
            self.groups.try_reserve_exact(GROUPS).map_err(|_| Errno::ENOMEM)?;
            let empty = || Group {
                open: u64::MAX,
                free: Vec::new(),
            };
            self.groups.extend((0..GROUPS).map(|_| empty()));
        }
        let (index, word, bit) = place(port);
        let group = &mut self.groups[index];
        group.fill(index == 0)?;
        if group.free[word] & bit == 0 {
            return Err(Errno::EINVAL);
        }
        group.free[word] &= !bit;
        if group.free[word] == 0 {
            group.open &= !(1 << word);
        }
        if group.open == 0 {
            self.open &= !(1 << index);
        }
        self.used += 1;
        Ok(())
    }

    /// Gives a taken port back; one that is free stays so.
    pub fn give(&mut self, port: u32) {
        let (index, word, bit) = place(port);
        let Some(group) = self.groups.get_mut(index) else {
            return;
        };
        let Some(free) = group.free.get_mut(word).filter(|free| port != 0 && **free & bit == 0) else {
            return;
        };
        *free |= bit;
        group.open |= 1 << word;
        self.open |= 1 << index;
        self.used -= 1;
    }
}

/// Where a port's bit is: group, word, bit.
const fn place(port: u32) -> (usize, usize, u64) {
    ((port / GROUP) as usize, (port % GROUP / 64) as usize, 1 << (port % 64))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn ports_are_given_out_from_one_on() {
        let mut free = FreePorts::new();
        for port in 1..PORTS {
            assert_eq!(free.next_free(0), Some(port));
            free.take(port).unwrap();
        }
        assert_eq!((free.next_free(0), free.used()), (None, PORTS - 1));
        free.give(PORTS - 1);
        assert_eq!(free.next_free(0), Some(PORTS - 1));
        free.give(4097);
        assert_eq!(free.next_free(0), Some(4097));
        assert_eq!(free.next_free(4098), Some(PORTS - 1));
        assert_eq!(free.next_used(4097), Some(4098));
    }

    #[test]
    fn what_is_no_port_is_refused() {
        let mut free = FreePorts::new();
        assert!(free.take(0).is_err() && free.take(PORTS).is_err() && free.take(u32::MAX).is_err());
        free.give(0);
        free.give(u32::MAX);
        assert_eq!((free.next_free(PORTS), free.next_free(u32::MAX)), (None, None));
        assert_eq!((free.used(), free.next_used(0)), (0, None));
    }

    fn port() -> impl Strategy<Value = u32> {
        prop_oneof![0u32..70, 4090u32..4100, 8190u32..8200, PORTS - 3..PORTS + 2]
    }

    proptest! {
        #[test]
        fn free_ports_agree_with_a_set(ops in prop::collection::vec((any::<bool>(), port()), 0..300), from in port()) {
            let (mut free, mut used) = (FreePorts::new(), BTreeSet::new());
            for (take, port) in ops {
                if take {
                    let may = port != 0 && port < PORTS && !used.contains(&port);
                    prop_assert_eq!(free.take(port).is_ok(), may);
                    if may {
                        used.insert(port);
                    }
                } else {
                    free.give(port);
                    used.remove(&port);
                }
                prop_assert_eq!(free.used() as usize, used.len());
            }
            let lowest = (from.max(1)..PORTS).find(|p| !used.contains(p));
            prop_assert_eq!(free.next_free(from), lowest);
            prop_assert_eq!(free.next_used(from), used.range(from..).next().copied());
        }
    }
}
