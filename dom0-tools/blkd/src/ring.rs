//! The ring between a frontend and this backend (`public/io/ring.h`). The frontend may write anything into it at any
//! time; nothing is read twice, and no index of the frontend's reaches past the ring.

use std::sync::atomic::{Ordering, fence};

use privcmd::Mapping;

use crate::request::{REQUEST, RESPONSE};

/// Offsets of the indexes in the first page.
const REQ_PROD: usize = 0;
const REQ_EVENT: usize = 4;
const RSP_PROD: usize = 8;
const RSP_EVENT: usize = 12;
/// Where the slots begin.
const SLOTS: usize = 64;

/// The frontend has broken the ring's rules: more requests than slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Overflow;

/// The backend's end of a ring.
#[derive(Debug)]
pub(crate) struct Ring<M> {
    memory: M,
    /// Number of slots, a power of two.
    slots: u32,
    /// Requests taken, and by that answers given: one request is under way at most.
    taken: u32,
    answered: u32,
}

impl<M: AsRef<Mapping>> Ring<M> {
    /// Takes up a ring where its last backend has left it: behind the answers that are published.
    pub(crate) fn new(memory: M) -> Self {
        let room = (memory.as_ref().len() - SLOTS) / REQUEST;
        let slots = 1 << room.ilog2();
        let answered = memory.as_ref().load_u32(RSP_PROD, Ordering::Acquire);
        Self {
            memory,
            slots,
            taken: answered,
            answered,
        }
    }

    fn slot(&self, index: u32) -> usize {
        SLOTS + (index & (self.slots - 1)) as usize * REQUEST
    }

    /// A copy of the next request; none when all are taken.
    ///
    /// # Errors
    /// The frontend claims more requests than there are slots.
    pub(crate) fn next(&mut self) -> Result<Option<[u8; REQUEST]>, Overflow> {
        let produced = self.memory.as_ref().load_u32(REQ_PROD, Ordering::Acquire);
        if produced == self.taken {
            return Ok(None);
        }
        if produced.wrapping_sub(self.answered) > self.slots {
            return Err(Overflow);
        }
        let mut bytes = [0; REQUEST];
        self.memory.as_ref().read(self.slot(self.taken), &mut bytes);
        self.taken = self.taken.wrapping_add(1);
        Ok(Some(bytes))
    }

    /// Publishes an answer; true where the frontend wants an event for it.
    pub(crate) fn answer(&mut self, response: &[u8; RESPONSE]) -> bool {
        let memory = self.memory.as_ref();
        memory.write(self.slot(self.answered), response);
        let new = self.answered.wrapping_add(1);
        memory.store_u32(RSP_PROD, new, Ordering::Release);
        // The answer must be seen before the wish for events is looked at, or both sides sleep.
        fence(Ordering::SeqCst);
        let wanted = memory.load_u32(RSP_EVENT, Ordering::Relaxed);
        let notify = new.wrapping_sub(wanted) < 1;
        self.answered = new;
        notify
    }

    /// Asks for an event at the next request; true where there is one already.
    pub(crate) fn request_event(&mut self) -> bool {
        let memory = self.memory.as_ref();
        memory.store_u32(REQ_EVENT, self.taken.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::SeqCst);
        memory.load_u32(REQ_PROD, Ordering::Acquire) != self.taken
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    /// A frontend's end, as Linux drives it.
    struct Front {
        memory: Arc<Mapping>,
        produced: u32,
        consumed: u32,
        slots: u32,
    }

    fn pair(start: u32) -> (Front, Ring<Shared>) {
        let memory = Arc::new(Mapping::anonymous(4096).unwrap());
        for at in [REQ_PROD, RSP_PROD] {
            memory.store_u32(at, start, Ordering::Relaxed);
        }
        for at in [REQ_EVENT, RSP_EVENT] {
            memory.store_u32(at, start.wrapping_add(1), Ordering::Relaxed);
        }
        let ring = Ring::new(Shared(memory.clone()));
        let front = Front {
            memory,
            produced: start,
            consumed: start,
            slots: ring.slots,
        };
        (front, ring)
    }

    #[derive(Debug)]
    struct Shared(Arc<Mapping>);

    impl AsRef<Mapping> for Shared {
        fn as_ref(&self) -> &Mapping {
            &self.0
        }
    }

    impl Front {
        fn at(&self, index: u32) -> usize {
            SLOTS + (index % self.slots) as usize * REQUEST
        }

        /// Sends a request with this number in it; false where the ring is full.
        fn send(&mut self, number: u8) -> bool {
            if self.produced.wrapping_sub(self.consumed) == self.slots {
                return false;
            }
            self.memory.fill(self.at(self.produced), REQUEST, number);
            self.produced = self.produced.wrapping_add(1);
            self.memory.store_u32(REQ_PROD, self.produced, Ordering::Release);
            true
        }

        fn receive(&mut self) -> Option<u8> {
            let produced = self.memory.load_u32(RSP_PROD, Ordering::Acquire);
            if produced == self.consumed {
                return None;
            }
            let number = self.memory.atomic_u8(self.at(self.consumed)).load(Ordering::Relaxed);
            self.consumed = self.consumed.wrapping_add(1);
            self.memory
                .store_u32(RSP_EVENT, self.consumed.wrapping_add(1), Ordering::Relaxed);
            Some(number)
        }
    }

    #[test]
    fn a_page_has_32_slots_and_16_pages_have_512() {
        assert_eq!(pair(0).1.slots, 32);
        let big = Ring::new(Shared(Arc::new(Mapping::anonymous(16 * 4096).unwrap())));
        assert_eq!(big.slots, 512);
    }

    #[test]
    fn more_requests_than_slots_are_an_overflow() {
        let (front, mut ring) = pair(7);
        front.memory.store_u32(REQ_PROD, 7 + 33, Ordering::Relaxed);
        assert_eq!(ring.next(), Err(Overflow));
        front.memory.store_u32(REQ_PROD, 6, Ordering::Relaxed);
        assert_eq!(ring.next(), Err(Overflow), "an index that runs backwards");
    }

    #[test]
    fn a_new_backend_goes_on_behind_the_last_answer() {
        let (mut front, mut ring) = pair(0);
        for number in 1..=3 {
            front.send(number);
        }
        ring.next().unwrap().unwrap();
        ring.answer(&[1; RESPONSE]);
        // The second is taken and not answered when the first backend dies.
        ring.next().unwrap().unwrap();
        let mut second = Ring::new(Shared(front.memory.clone()));
        assert_eq!(second.next().unwrap().unwrap()[0], 2);
    }

    proptest! {
        /// Whatever the order of sending, serving and receiving, and wherever the indexes wrap: all requests arrive
        /// once and in order, and nobody sleeps while there is something to do.
        #[test]
        fn requests_arrive_once_and_in_order(
            start in prop_oneof![Just(0u32), Just(u32::MAX - 20), any::<u32>()],
            steps in proptest::collection::vec(0..3u8, 1..400),
        ) {
            let (mut front, mut ring) = pair(start);
            let (mut sent, mut served, mut received) = (0u8, 0u8, 0u8);
            for step in steps {
                match step {
                    0 => sent = sent.wrapping_add(u8::from(front.send(sent))),
                    1 => {
                        if let Some(request) = ring.next().unwrap() {
                            prop_assert_eq!(request[0], served);
                            let caught_up = received == served;
                            let notify = ring.answer(&[served; RESPONSE]);
                            prop_assert_eq!(notify, caught_up, "an event where the frontend sleeps, and else none");
                            served = served.wrapping_add(1);
                        } else {
                            prop_assert_eq!(sent, served);
                            prop_assert!(!ring.request_event());
                        }
                    }
                    _ => {
                        if let Some(number) = front.receive() {
                            prop_assert_eq!(number, received);
                            received = received.wrapping_add(1);
                        } else {
                            prop_assert_eq!(served, received);
                        }
                    }
                }
            }
        }

        #[test]
        fn no_indexes_make_it_panic(words in proptest::collection::vec(any::<u32>(), 4)) {
            let (front, _) = pair(0);
            for (index, word) in words.iter().enumerate() {
                front.memory.store_u32(index * 4, *word, Ordering::Relaxed);
            }
            let mut ring = Ring::new(Shared(front.memory.clone()));
            while let Ok(Some(_)) = ring.next() {
                ring.answer(&[0; RESPONSE]);
            }
            ring.request_event();
        }
    }
}
