//! Where indexes and slots lie in the shared pages.
use crate::Slot;
use core::fmt;
use core::sync::atomic::Ordering;
use pv_hal::Memory;

/// Offsets of the four indexes (`struct NAME_sring`).
pub(crate) const REQ_PROD: usize = 0;
pub(crate) const REQ_EVENT: usize = 4;
pub(crate) const RSP_PROD: usize = 8;
pub(crate) const RSP_EVENT: usize = 12;
/// Where the slots begin.
const SLOTS: usize = 64;

/// The peer has broken the ring's rules: its index is farther away than the ring is long, or than what it was given.
/// The ring is of no use any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broken {
    /// The index that the peer wrote.
    pub producer: u32,
    /// The last one that would have made sense.
    pub limit: u32,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the ring's producer is at {}, beyond {}", self.producer, self.limit)
    }
}

impl core::error::Error for Broken {}

/// Number of slots of `slot_size` bytes in a ring of `byte_count` bytes: the largest power of two that fits
/// (`__RING_SIZE`); 0 where none fits.
pub const fn slot_count(byte_count: usize, slot_size: usize) -> u32 {
    let room = byte_count.saturating_sub(SLOTS) / slot_size;
    if room == 0 { 0 } else { 1 << room.ilog2() }
}

/// Shared pages as a ring.
#[derive(Debug)]
pub(crate) struct Slots<M> {
    pub(crate) memory: M,
    slot_size: usize,
    pub(crate) count: u32,
}

impl<M: Memory> Slots<M> {
    /// # Panics
    /// A slot does not fit into the pages: the caller's mistake, since sizes are never the peer's.
    pub(crate) fn new(memory: M, slot_size: usize) -> Self {
        let count = slot_count(memory.byte_count(), slot_size);
        assert!(count > 0, "a ring without room for a slot");
        Self {
            memory,
            slot_size,
            count,
        }
    }

    pub(crate) fn load(&self, offset: usize) -> u32 {
        self.memory.load_u32(offset, Ordering::Acquire)
    }

    pub(crate) fn store(&self, offset: usize, value: u32) {
        self.memory.store_u32(offset, value, Ordering::Release);
    }

    fn offset(&self, index: u32) -> usize {
        SLOTS + (index & (self.count - 1)) as usize * self.slot_size
    }

    /// A copy of a slot.
    pub(crate) fn read<T: Slot>(&self, index: u32) -> T {
        let mut value = T::new_zeroed();
        self.memory.read(self.offset(index), value.as_mut_bytes());
        value
    }

    pub(crate) fn write<T: Slot>(&self, index: u32, value: &T) {
        self.memory.write(self.offset(index), value.as_bytes());
    }

    /// Empties the ring, as its owner does before anybody else knows it (`SHARED_RING_INIT`).
    pub(crate) fn clear(&self, index: u32) {
        self.memory.fill(0, SLOTS, 0);
        for (producer, event) in [(REQ_PROD, REQ_EVENT), (RSP_PROD, RSP_EVENT)] {
            self.store(producer, index);
            self.store(event, index.wrapping_add(1));
        }
    }

    /// Publishes `new` at `producer`; true where the peer's wish at `event` lies between `old` and `new`.
    pub(crate) fn publish(&self, producer: usize, event: usize, old: u32, new: u32) -> bool {
        self.store(producer, new);
        // The new index must be seen before the wish is looked at, or both sides sleep.
        core::sync::atomic::fence(Ordering::SeqCst);
        let wanted = self.memory.load_u32(event, Ordering::Relaxed);
        new.wrapping_sub(wanted) < new.wrapping_sub(old)
    }

    /// Asks for an event once `producer` moves beyond `consumer`.
    pub(crate) fn arm(&self, event: usize, consumer: u32) {
        self.store(event, consumer.wrapping_add(1));
        // The wish must be seen before the index is looked at once more.
        core::sync::atomic::fence(Ordering::SeqCst);
    }
}

/// Entries between `consumer` and the peer's `producer`, of which at most `most` can be right.
pub(crate) fn available(producer: u32, consumer: u32, most: u32) -> Result<u32, Broken> {
    let count = producer.wrapping_sub(consumer);
    if count > most {
        return Err(Broken {
            producer,
            limit: consumer.wrapping_add(most),
        });
    }
    Ok(count)
}
