//! A queue of deadlines: a binary heap whose entries know their place, so that a timer moves or goes in
//! logarithmic time. With the two or three timers of a lone vcpu each operation is a handful of steps.

use alloc::collections::TryReserveError;
use alloc::vec::Vec;

/// Names an armed timer of one queue. Valid from [`Deadlines::insert`] until it expires or is removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot(u32);

impl Slot {
    /// The number, for storage in an atomic.
    pub const fn to_raw(self) -> u32 {
        self.0
    }

    /// A slot whose number was taken by [`Slot::to_raw`].
    pub const fn from_raw(raw: u32) -> Self {
        Slot(raw)
    }
}

#[derive(Clone, Copy)]
struct Entry<K> {
    at: u64,
    slot: u32,
    key: K,
}

/// Where a slot's entry stands in the heap, or the next free slot.
const NONE: u32 = u32::MAX;

/// Timers by deadline; `K` says whose it is.
pub struct Deadlines<K> {
    heap: Vec<Entry<K>>,
    /// By slot: the index in the heap while armed, the next free slot while not.
    places: Vec<u32>,
    free: u32,
}

impl<K: Copy> Default for Deadlines<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Copy> Deadlines<K> {
    /// An empty queue, without memory.
    pub const fn new() -> Self {
        Deadlines {
            heap: Vec::new(),
            places: Vec::new(),
            free: NONE,
        }
    }

    /// Makes room for `count` timers in all.
    ///
    /// # Errors
    /// When the memory is not there.
    pub fn reserve(&mut self, count: usize) -> Result<(), TryReserveError> {
        self.heap.try_reserve(count.saturating_sub(self.heap.len()))?;
        self.places.try_reserve(count.saturating_sub(self.places.len()))
    }

    /// How many timers are armed.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Is no timer armed?
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The earliest deadline.
    #[inline]
    pub fn next(&self) -> Option<u64> {
        self.heap.first().map(|e| e.at)
    }

    /// Arms a timer. Beyond the room reserved it allocates.
    pub fn insert(&mut self, at: u64, key: K) -> Slot {
        let slot = match self.free {
            NONE => {
                self.places.push(NONE);
                (self.places.len() - 1) as u32
            }
            slot => {
                self.free = self.places[slot as usize];
                slot
            }
        };
        self.heap.push(Entry { at, slot, key });
        self.rise(self.heap.len() - 1);
        Slot(slot)
    }

    /// Gives an armed timer another deadline.
    pub fn update(&mut self, slot: Slot, at: u64) {
        let index = self.places[slot.0 as usize] as usize;
        let old = core::mem::replace(&mut self.heap[index].at, at);
        if at < old {
            self.rise(index);
        } else if at > old {
            self.sink(index);
        }
    }

    /// Disarms a timer.
    pub fn remove(&mut self, slot: Slot) {
        self.take(self.places[slot.0 as usize] as usize);
    }

    /// Takes the earliest timer if its deadline is at or before `now`.
    pub fn pop_expired(&mut self, now: u64) -> Option<(u64, K)> {
        match self.heap.first() {
            Some(first) if first.at <= now => {
                let entry = self.take(0);
                Some((entry.at, entry.key))
            }
            _ => None,
        }
    }

    fn take(&mut self, index: usize) -> Entry<K> {
        let entry = self.heap.swap_remove(index);
        if index < self.heap.len() {
            // What stood last belongs above or below its new place; one of the two does nothing.
            let moved = self.heap[index].at;
            if moved < entry.at {
                self.rise(index)
            } else {
                self.sink(index)
            }
        }
        self.places[entry.slot as usize] = self.free;
        self.free = entry.slot;
        entry
    }

    fn rise(&mut self, mut index: usize) {
        let entry = self.heap[index];
        while index > 0 {
            let parent = (index - 1) / 2;
            if self.heap[parent].at <= entry.at {
                break;
            }
            self.put(index, self.heap[parent]);
            index = parent;
        }
        self.put(index, entry);
    }

    fn sink(&mut self, mut index: usize) {
        let entry = self.heap[index];
        loop {
            let mut child = 2 * index + 1;
            if child >= self.heap.len() {
                break;
            }
            if child + 1 < self.heap.len() && self.heap[child + 1].at < self.heap[child].at {
                child += 1;
            }
            if self.heap[child].at >= entry.at {
                break;
            }
            self.put(index, self.heap[child]);
            index = child;
        }
        self.put(index, entry);
    }

    #[inline]
    fn put(&mut self, index: usize, entry: Entry<K>) {
        self.heap[index] = entry;
        self.places[entry.slot as usize] = index as u32;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    #[test]
    fn expires_in_order_and_not_before() {
        let mut q = Deadlines::new();
        for at in [50, 10, 30, 20, 40] {
            q.insert(at, at);
        }
        assert_eq!(q.next(), Some(10));
        assert_eq!(q.pop_expired(9), None);
        let mut seen = Vec::new();
        while let Some((at, key)) = q.pop_expired(40) {
            assert_eq!(at, key);
            seen.push(at);
        }
        assert_eq!(seen, [10, 20, 30, 40]);
        assert_eq!(q.len(), 1);
    }

    #[test]
    fn reserved_room_is_enough() {
        let mut q: Deadlines<u8> = Deadlines::new();
        q.reserve(8).unwrap();
        let room = (q.heap.capacity(), q.places.capacity());
        for _ in 0..5 {
            let slots: Vec<_> = (0..8).map(|n| q.insert(n, 0)).collect();
            slots.into_iter().for_each(|s| q.remove(s));
        }
        assert_eq!((q.heap.capacity(), q.places.capacity()), room);
        assert!(q.is_empty());
    }

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u64),
        Update(usize, u64),
        Remove(usize),
        Expire(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            (0u64..100).prop_map(Op::Insert),
            (any::<usize>(), 0u64..100).prop_map(|(i, at)| Op::Update(i, at)),
            any::<usize>().prop_map(Op::Remove),
            (0u64..100).prop_map(Op::Expire),
        ]
    }

    proptest! {
        /// Against a plain map from timer to deadline.
        #[test]
        fn agrees_with_a_map(ops in prop::collection::vec(op(), 0..200)) {
            let mut q = Deadlines::new();
            let mut model: BTreeMap<u32, (u64, Slot)> = BTreeMap::new();
            let mut key = 0;
            for op in ops {
                let nth = |i: usize| model.keys().nth(i % model.len().max(1)).copied();
                match op {
                    Op::Insert(at) => {
                        model.insert(key, (at, q.insert(at, key)));
                        key += 1;
                    }
                    Op::Update(i, at) => if let Some(k) = nth(i) {
                        let entry = model.get_mut(&k).unwrap();
                        q.update(entry.1, at);
                        entry.0 = at;
                    },
                    Op::Remove(i) => if let Some(k) = nth(i) {
                        q.remove(model.remove(&k).unwrap().1);
                    },
                    Op::Expire(now) => {
                        let mut last = 0;
                        while let Some((at, k)) = q.pop_expired(now) {
                            prop_assert!(last <= at && at <= now);
                            last = at;
                            prop_assert_eq!(model.remove(&k).map(|e| e.0), Some(at));
                        }
                        prop_assert!(model.values().all(|e| e.0 > now));
                    }
                }
                prop_assert_eq!(q.next(), model.values().map(|e| e.0).min());
                prop_assert_eq!(q.len(), model.len());
            }
        }
    }
}
