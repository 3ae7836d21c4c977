//! A device's queues, whichever end of it this is: which one a frame takes, and what has gone through them.

use alloc::vec::Vec;

use pv_hal::Port;

use crate::flow::choose_queue;
use crate::outgoing::Outgoing;
use crate::{Features, Meta, Received, SendError, Statistics};

/// The peer has broken a ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Trouble;

/// One queue, as an end of the device sees it: "send" is to the peer.
pub(crate) trait Queue {
    /// As [`crate::Interface::try_send`]; [`SendError::Down`] where the peer has broken the ring.
    fn try_send(&mut self, frame: &[u8], meta: Meta) -> Result<(), SendError>;

    /// As [`crate::Interface::has_room`].
    fn has_room(&mut self, len: usize) -> bool;

    /// As [`crate::Interface::flush`].
    fn flush(&mut self);

    /// As [`crate::Interface::try_receive`].
    fn try_receive(&mut self, into: &mut [u8]) -> Result<Option<Received>, Trouble>;

    /// As [`crate::Interface::arm`].
    fn arm(&mut self, wants_room: bool) -> Result<bool, Trouble>;

    /// Its ports.
    fn ports(&self) -> impl Iterator<Item = Port>;

    /// Adds what this queue counts to what all of them have done.
    fn count(&self, sum: &mut Statistics);

    /// Frames that the peer has not answered yet.
    fn in_flight(&self) -> u64;
}

/// All queues of a device; none while it is not connected.
pub(crate) struct Queues<Q> {
    pub(crate) list: Vec<Q>,
    /// What the peer takes.
    pub(crate) peer: Features,
    /// Queue to receive from first.
    turn: usize,
    outgoing: Outgoing,
    /// What has gone through these and earlier queues, but for what [`Queue::count`] adds.
    statistics: Statistics,
}

impl<Q: Queue> Queues<Q> {
    pub(crate) fn new() -> Self {
        Self {
            list: Vec::new(),
            peer: Features::NONE,
            turn: 0,
            outgoing: Outgoing::default(),
            statistics: Statistics::default(),
        }
    }

    /// Lets go of rings, grants and ports.
    pub(crate) fn release(&mut self) {
        for queue in self.list.drain(..) {
            queue.count(&mut self.statistics);
            self.statistics.send_errors += queue.in_flight();
        }
    }

    /// Sends a frame by the queue that is its connection's. There must be one.
    pub(crate) fn try_send(&mut self, frame: &[u8], meta: Meta) -> Result<(), SendError> {
        let index = choose_queue(frame, self.list.len());
        let queue = self.list.get_mut(index).ok_or(SendError::Down)?;
        self.outgoing
            .send(&self.peer, frame, meta, |frame, meta| queue.try_send(frame, meta))?;
        self.statistics.sent += 1;
        Ok(())
    }

    pub(crate) fn has_room(&mut self, len: usize) -> bool {
        self.list.iter_mut().all(|queue| queue.has_room(len))
    }

    pub(crate) fn flush(&mut self) {
        self.list.iter_mut().for_each(Queue::flush);
    }

    /// The next frame; a queue is read until it is empty, then the next one's turn comes.
    pub(crate) fn try_receive(&mut self, into: &mut [u8]) -> Result<Option<Received>, Trouble> {
        for _ in 0..self.list.len() {
            let turn = self.turn % self.list.len();
            match self.list[turn].try_receive(into)? {
                None => self.turn = turn + 1,
                received => {
                    self.statistics.received += 1;
                    return Ok(received);
                }
            }
        }
        Ok(None)
    }

    /// Arms every queue, also behind one that is broken.
    pub(crate) fn arm(&mut self, wants_room: bool) -> Result<bool, Trouble> {
        let arm = |queue: &mut Q| queue.arm(wants_room);
        let both = |sum: Result<bool, Trouble>, one: Result<bool, Trouble>| Ok(sum? | one?);
        self.list.iter_mut().map(arm).fold(Ok(false), both)
    }

    pub(crate) fn ports(&self) -> impl Iterator<Item = Port> {
        self.list.iter().flat_map(Queue::ports)
    }

    pub(crate) fn statistics(&self) -> Statistics {
        let mut sum = self.statistics;
        self.list.iter().for_each(|queue| queue.count(&mut sum));
        sum
    }
}
