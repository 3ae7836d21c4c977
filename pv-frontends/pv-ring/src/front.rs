//! The end that makes requests.
use crate::layout::{REQ_EVENT, REQ_PROD, RSP_EVENT, RSP_PROD, Slots, available};
use crate::{Broken, Slot};
use core::fmt;
use core::marker::PhantomData;
use pv_hal::Memory;

/// Every slot is taken by a request that has no response yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the ring is full")
    }
}

impl core::error::Error for Full {}

/// A frontend's end of a ring of requests `Q` and responses `P`.
#[derive(Debug)]
pub struct Front<M, Q, P> {
    slots: Slots<M>,
    /// Requests written.
    produced: u32,
    /// Requests published.
    published: u32,
    /// Responses taken.
    consumed: u32,
    broken: Option<Broken>,
    kind: PhantomData<fn(Q) -> P>,
}

impl<M: Memory, Q: Slot, P: Slot> Front<M, Q, P> {
    /// Makes an empty ring in pages that the peer does not use yet. A slot is as large as the larger of the two types.
    ///
    /// # Panics
    /// Not one slot fits.
    pub fn new(memory: M) -> Self {
        Self::with_slot_size(memory, size_of::<Q>().max(size_of::<P>()))
    }

    /// The same with slots of a given size, for protocols whose slots have room for more.
    ///
    /// # Panics
    /// Not one slot fits, or a type is larger than a slot.
    pub fn with_slot_size(memory: M, slot_size: usize) -> Self {
        Self::starting_at(memory, slot_size, 0)
    }

    /// The same with indexes that begin at `index` instead of 0, which a backend takes up as it finds it: for tests of
    /// what happens where they wrap.
    ///
    /// # Panics
    /// As [`with_slot_size`](Self::with_slot_size).
    pub fn starting_at(memory: M, slot_size: usize, index: u32) -> Self {
        assert!(slot_size >= size_of::<Q>().max(size_of::<P>()), "a slot is too small");
        let slots = Slots::new(memory, slot_size);
        slots.clear(index);
        Self {
            slots,
            produced: index,
            published: index,
            consumed: index,
            broken: None,
            kind: PhantomData,
        }
    }

    /// Number of slots.
    pub fn slot_count(&self) -> u32 {
        self.slots.count
    }

    /// Requests that can be written now.
    pub fn free_count(&self) -> u32 {
        self.slots.count - self.in_flight()
    }

    /// Requests written that have no response yet.
    pub fn in_flight(&self) -> u32 {
        self.produced.wrapping_sub(self.consumed)
    }

    /// The pages.
    pub fn memory(&self) -> &M {
        &self.slots.memory
    }

    /// Gives the pages back.
    pub fn into_memory(self) -> M {
        self.slots.memory
    }

    /// Writes a request, which the backend sees after [`publish`](Self::publish). Answers its index, which runs freely.
    ///
    /// # Errors
    /// No slot is free.
    pub fn push(&mut self, request: &Q) -> Result<u32, Full> {
        if self.free_count() == 0 {
            return Err(Full);
        }
        let index = self.produced;
        self.slots.write(index, request);
        self.produced = index.wrapping_add(1);
        Ok(index)
    }

    /// Lets the backend see what was written; true if it is to be sent an event.
    #[must_use = "a backend that sleeps wants its event"]
    pub fn publish(&mut self) -> bool {
        if self.produced == self.published {
            return false;
        }
        let old = core::mem::replace(&mut self.published, self.produced);
        self.slots.publish(REQ_PROD, REQ_EVENT, old, self.produced)
    }

    /// Responses that can be taken.
    ///
    /// # Errors
    /// The backend claims more responses than it has requests.
    pub fn pending(&mut self) -> Result<u32, Broken> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        let outstanding = self.published.wrapping_sub(self.consumed);
        let found = available(self.slots.load(RSP_PROD), self.consumed, outstanding);
        self.broken = found.err();
        found
    }

    /// Takes a copy of the next response; none when all are taken.
    ///
    /// # Errors
    /// As [`pending`](Self::pending).
    pub fn pop(&mut self) -> Result<Option<P>, Broken> {
        Ok(self.pop_indexed()?.map(|(_, response)| response))
    }

    /// The same with the response's index, for protocols that give it a meaning (network reception).
    ///
    /// # Errors
    /// As [`pending`](Self::pending).
    pub fn pop_indexed(&mut self) -> Result<Option<(u32, P)>, Broken> {
        if self.pending()? == 0 {
            return Ok(None);
        }
        let index = self.consumed;
        let response = self.slots.read(index);
        self.consumed = index.wrapping_add(1);
        Ok(Some((index, response)))
    }

    /// Asks for an event with the next response; true if there is one already, so that nobody waits for it.
    ///
    /// # Errors
    /// As [`pending`](Self::pending).
    pub fn arm(&mut self) -> Result<bool, Broken> {
        self.arm_for(1)
    }

    /// Asks for an event once `count` responses can be taken (at least 1), to take them in batches; true if they can
    /// already.
    ///
    /// # Errors
    /// As [`pending`](Self::pending).
    pub fn arm_for(&mut self, count: u32) -> Result<bool, Broken> {
        if self.pending()? >= count {
            return Ok(true);
        }
        self.slots.arm(RSP_EVENT, self.consumed.wrapping_add(count - 1));
        Ok(self.pending()? >= count)
    }
}
