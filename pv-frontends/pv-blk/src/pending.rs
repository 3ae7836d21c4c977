//! Requests that the backend has and has not answered.

use alloc::vec::Vec;

/// A table of requests by the `id` that the backend repeats. An id names a slot and how often it was used, so that an
/// answer to a request that was answered already is told from one to its successor.
#[derive(Debug)]
pub(crate) struct Pending<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    uses: u32,
    request: Option<T>,
}

impl<T> Pending<T> {
    /// Room for `count` requests.
    pub(crate) fn new(count: u32) -> Self {
        let slot = |_| Slot { uses: 0, request: None };
        Self {
            slots: (0..count).map(slot).collect(),
            free: (0..count).rev().collect(),
        }
    }

    /// Is there room for another one?
    pub(crate) fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Number of requests without an answer.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Takes a request in; its id, or itself where there is no room.
    pub(crate) fn insert(&mut self, request: T) -> Result<u64, T> {
        let Some(index) = self.free.pop() else {
            return Err(request);
        };
        let slot = &mut self.slots[index as usize];
        slot.uses = slot.uses.wrapping_add(1);
        slot.request = Some(request);
        Ok(u64::from(slot.uses) << 32 | u64::from(index))
    }

    /// Takes a request out; none where no request of that id is waiting.
    pub(crate) fn remove(&mut self, id: u64) -> Option<T> {
        let index = id as u32;
        let slot = self.slots.get_mut(index as usize)?;
        if u64::from(slot.uses) != id >> 32 {
            return None;
        }
        let request = slot.request.take()?;
        self.free.push(index);
        Some(request)
    }

    /// Takes all requests out, oldest first as far as can be told.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        let mut requests = Vec::with_capacity(self.len());
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if let Some(request) = slot.request.take() {
                self.free.push(index as u32);
                requests.push(request);
            }
        }
        requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_that_are_waited_for_take_something_out() {
        let mut pending = Pending::new(2);
        let a = pending.insert('a').unwrap();
        let b = pending.insert('b').unwrap();
        assert_eq!(pending.insert('c'), Err('c'));
        for id in [0, 1, u64::MAX, a ^ 1 << 33, b | 2, u64::from(u32::MAX)] {
            assert_eq!(pending.remove(id), None, "{id:#x}");
        }
        assert_eq!(pending.remove(a), Some('a'));
        assert_eq!(pending.remove(a), None, "answered twice");
        let c = pending.insert('c').unwrap();
        assert_ne!(a, c, "the slot is used again, the id is not");
        assert_eq!(pending.remove(a), None);
        assert_eq!(pending.len(), 2);
        assert_eq!(pending.drain(), ['c', 'b']);
        assert!(pending.has_room() && pending.len() == 0);
    }
}
