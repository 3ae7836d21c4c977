//! A backend's end of what a guest transmits.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Range;

use pv_hal::{Direction, DomId, Hal, Memory};
use pv_ring::Back;
use xen_abi::{NETIF_RSP_ERROR, NETIF_RSP_NULL, NETIF_RSP_OKAY, netif_tx_response};

use super::stage::Stage;
use crate::queues::Trouble;
use crate::tx_chain::{SLOT, Slot, TxChain};
use crate::{Error, Meta, Received};

/// Most packets that are copied at once.
const BATCH: usize = 64;

/// A packet whose copies are not made yet.
struct Waiting {
    start: usize,
    len: usize,
    meta: Meta,
    copies: Range<usize>,
    slots: Range<usize>,
}

/// A packet in the stage.
struct Ready {
    start: usize,
    len: usize,
    meta: Meta,
}

pub(crate) struct Transmit<H: Hal> {
    ring: Back<H::Mapping, [u8; SLOT], netif_tx_response>,
    peer: DomId,
    stage: Stage<H>,
    chain: TxChain,
    waiting: Vec<Waiting>,
    slots: Vec<Slot>,
    ready: VecDeque<Ready>,
    /// What follows in the ring has no meaning. What came before is still handed out.
    is_broken: bool,
    /// Packets that could not be taken.
    pub(crate) dropped: u64,
}

impl<H: Hal> Transmit<H> {
    pub(crate) fn new(hal: &H, peer: DomId, ring: H::Mapping) -> Result<Self, Error> {
        Ok(Self {
            ring: Back::new(ring),
            peer,
            stage: Stage::new(hal)?,
            chain: TxChain::default(),
            waiting: Vec::new(),
            slots: Vec::new(),
            ready: VecDeque::new(),
            is_broken: false,
            dropped: 0,
        })
    }

    /// Copies the next packet out. `Ok(None)` where the ring is empty. `notify` is called if the guest wants an event.
    pub(crate) fn try_receive(
        &mut self,
        hal: &H,
        into: &mut [u8],
        notify: impl FnMut(),
    ) -> Result<Option<Received>, Trouble> {
        if self.ready.is_empty() && !self.is_broken {
            self.is_broken = self.fetch(hal, notify).is_err();
        }
        while let Some(ready) = self.ready.pop_front() {
            let Some(into) = into.get_mut(..ready.len) else {
                self.dropped += 1;
                continue;
            };
            self.stage.pages.read(ready.start, into);
            return Ok(Some(Received {
                len: ready.len,
                meta: ready.meta,
            }));
        }
        if self.is_broken { Err(Trouble) } else { Ok(None) }
    }

    /// Takes a batch of packets out of the ring, has them copied, and answers.
    fn fetch(&mut self, hal: &H, mut notify: impl FnMut()) -> Result<(), Trouble> {
        self.stage.clear();
        let end = self.take_batch();
        hal.copy(
            Direction::FromPeer,
            self.peer,
            &self.stage.pages,
            &mut self.stage.copies,
        );
        for packet in self.waiting.drain(..) {
            let is_copied = self.stage.copies[packet.copies].iter().all(|copy| copy.result.is_ok());
            let status = if is_copied { NETIF_RSP_OKAY } else { NETIF_RSP_ERROR };
            answer(&mut self.ring, &self.slots[packet.slots], status);
            if is_copied {
                self.ready.push_back(Ready {
                    start: packet.start,
                    len: packet.len,
                    meta: packet.meta,
                });
            } else {
                self.dropped += 1;
            }
        }
        self.slots.clear();
        if self.ring.publish() {
            notify();
        }
        end
    }

    fn take_batch(&mut self) -> Result<(), Trouble> {
        while self.waiting.len() < BATCH && self.stage.has_room() {
            let (ring, mut is_broken) = (&mut self.ring, false);
            let verdict = self.chain.read(|| {
                ring.pop().unwrap_or_else(|_| {
                    is_broken = true;
                    None
                })
            });
            if is_broken {
                return Err(Trouble);
            }
            match verdict.map_err(|_| Trouble)? {
                None => break,
                // The multicast list is not offered: who tries to change it hears so.
                Some(Err(_)) => self.refuse(),
                Some(Ok(())) if self.chain.extras.multicast.is_some() => self.refuse(),
                Some(Ok(())) => self.queue_copies(),
            }
        }
        Ok(())
    }

    fn refuse(&mut self) {
        answer(&mut self.ring, &self.chain.slots, NETIF_RSP_ERROR);
        self.dropped += 1;
    }

    fn queue_copies(&mut self) {
        let (first_copy, first_slot) = (self.stage.copies.len(), self.slots.len());
        let start = self.stage.place(self.chain.len);
        let mut at = start;
        for piece in &self.chain.pieces {
            self.stage.add_copy(piece.gref, piece.offset, at, piece.len);
            at += usize::from(piece.len);
        }
        self.slots.extend_from_slice(&self.chain.slots);
        self.waiting.push(Waiting {
            start,
            len: self.chain.len,
            meta: self.chain.meta,
            copies: first_copy..self.stage.copies.len(),
            slots: first_slot..self.slots.len(),
        });
    }

    /// Asks for an event with the next packet; true if there is one.
    pub(crate) fn arm(&mut self) -> Result<bool, Trouble> {
        if !self.ready.is_empty() {
            return Ok(true);
        }
        self.ring.arm().map_err(|_| Trouble)
    }
}

fn answer<M: Memory>(ring: &mut Back<M, [u8; SLOT], netif_tx_response>, slots: &[Slot], status: i16) {
    for slot in slots {
        let response = match *slot {
            Slot::Request(id) => netif_tx_response { id, status },
            Slot::Extra => netif_tx_response {
                id: 0,
                status: NETIF_RSP_NULL,
            },
        };
        ring.push(&response);
    }
}
