//! The end that answers requests.
use crate::layout::{REQ_EVENT, REQ_PROD, RSP_EVENT, RSP_PROD, Slots, available};
use crate::{Broken, Slot};
use core::marker::PhantomData;
use pv_hal::Memory;

/// A backend's end of a ring of requests `Q` and responses `P`.
#[derive(Debug)]
pub struct Back<M, Q, P> {
    slots: Slots<M>,
    /// Requests taken.
    consumed: u32,
    /// Responses written.
    produced: u32,
    /// Responses published.
    published: u32,
    broken: Option<Broken>,
    kind: PhantomData<fn(P) -> Q>,
}

impl<M: Memory, Q: Slot, P: Slot> Back<M, Q, P> {
    /// Takes up a ring that a frontend has made, behind its last response: a fresh one at its beginning; one that an
    /// earlier backend has served where that one stopped, so that requests which it took and did not answer come again.
    /// A slot is as large as the larger of the two types.
    ///
    /// # Panics
    /// Not one slot fits.
    pub fn new(memory: M) -> Self {
        Self::with_slot_size(memory, size_of::<Q>().max(size_of::<P>()))
    }

    /// The same with slots of a given size, for protocols whose slots have room for more or whose frontend has another
    /// word size.
    ///
    /// # Panics
    /// Not one slot fits, or a type is larger than a slot.
    pub fn with_slot_size(memory: M, slot_size: usize) -> Self {
        assert!(slot_size >= size_of::<Q>().max(size_of::<P>()), "a slot is too small");
        let slots = Slots::new(memory, slot_size);
        // Any value will do: what the frontend claims to have asked for is compared with it.
        let answered = slots.load(RSP_PROD);
        Self {
            slots,
            consumed: answered,
            produced: answered,
            published: answered,
            broken: None,
            kind: PhantomData,
        }
    }

    /// Number of slots.
    pub fn slot_count(&self) -> u32 {
        self.slots.count
    }

    /// Requests taken that have no response yet.
    pub fn in_flight(&self) -> u32 {
        self.consumed.wrapping_sub(self.produced)
    }

    /// The pages.
    pub fn memory(&self) -> &M {
        &self.slots.memory
    }

    /// Gives the pages back.
    pub fn into_memory(self) -> M {
        self.slots.memory
    }

    /// Requests that can be taken.
    ///
    /// # Errors
    /// The frontend claims more requests than there are slots without a response.
    pub fn pending(&mut self) -> Result<u32, Broken> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        let most = self.slots.count - self.in_flight();
        let found = available(self.slots.load(REQ_PROD), self.consumed, most);
        self.broken = found.err();
        found
    }

    /// Takes a copy of the next request; none when all are taken.
    ///
    /// # Errors
    /// As [`pending`](Self::pending).
    pub fn pop(&mut self) -> Result<Option<Q>, Broken> {
        Ok(self.pop_indexed()?.map(|(_, request)| request))
    }

    /// The same with the request's index.
    ///
    /// # Errors
    /// As [`pending`](Self::pending).
    pub fn pop_indexed(&mut self) -> Result<Option<(u32, Q)>, Broken> {
        if self.pending()? == 0 {
            return Ok(None);
        }
        let index = self.consumed;
        let request = self.slots.read(index);
        self.consumed = index.wrapping_add(1);
        Ok(Some((index, request)))
    }

    /// Writes a response, which the frontend sees after [`publish`](Self::publish). Answers its index.
    ///
    /// # Panics
    /// There is no request that it could answer: the backend's own mistake, whatever the frontend does.
    pub fn push(&mut self, response: &P) -> u32 {
        assert!(self.in_flight() > 0, "a response without a request");
        let index = self.produced;
        self.slots.write(index, response);
        self.produced = index.wrapping_add(1);
        index
    }

    /// Lets the frontend see what was written; true if it is to be sent an event.
    #[must_use = "a frontend that sleeps wants its event"]
    pub fn publish(&mut self) -> bool {
        if self.produced == self.published {
            return false;
        }
        let old = core::mem::replace(&mut self.published, self.produced);
        self.slots.publish(RSP_PROD, RSP_EVENT, old, self.produced)
    }

    /// Asks for an event with the next request; true if there is one already, so that nobody waits for it.
    ///
    /// # Errors
    /// As [`pending`](Self::pending).
    pub fn arm(&mut self) -> Result<bool, Broken> {
        self.arm_for(1)
    }

    /// Asks for an event once `count` requests can be taken (at least 1); true if they can already. For protocols in
    /// which a request is a place to put something (network reception).
    ///
    /// # Errors
    /// As [`pending`](Self::pending).
    pub fn arm_for(&mut self, count: u32) -> Result<bool, Broken> {
        if self.pending()? >= count {
            return Ok(true);
        }
        self.slots.arm(REQ_EVENT, self.consumed.wrapping_add(count - 1));
        Ok(self.pending()? >= count)
    }
}
