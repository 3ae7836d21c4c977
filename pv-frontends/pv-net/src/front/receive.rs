//! A frontend's receiving half of a queue.

use pv_hal::{Access, DomId, Hal, Memory, PAGE_SIZE, SharedPages};
use pv_ring::{Broken, Front};
use xen_abi::netif_rx_request;

use crate::rx_chain::{RxChain, SLOT, request_id};
use crate::{Error, Received};

/// Receives frames into pages that stay granted. Answers come in the order of requests, so a slot's page is its number
/// modulo the number of pages, which is a power of two.
pub(crate) struct Receive<H: Hal> {
    ring: Front<SharedPages<H>, netif_rx_request, [u8; SLOT]>,
    pages: SharedPages<H>,
    page_count: u32,
    /// Number of the next request.
    posted: u32,
    chain: RxChain,
    /// Frames that were worth nothing.
    pub(crate) dropped: u64,
}

impl<H: Hal> Receive<H> {
    /// Makes the ring and fills it with requests.
    pub(crate) fn new(hal: &H, peer: DomId, pages: usize) -> Result<Self, Error> {
        let ring = SharedPages::new(hal, peer, 1, Access::ReadWrite)?;
        let mut receive = Self {
            ring: Front::new(ring),
            pages: SharedPages::new(hal, peer, pages, Access::ReadWrite)?,
            page_count: pages as u32,
            posted: 0,
            chain: RxChain::default(),
            dropped: 0,
        };
        receive.refill();
        Ok(receive)
    }

    /// The grant of the ring.
    pub(crate) fn ring_ref(&self) -> u32 {
        self.ring.memory().grants()[0].0
    }

    /// Requests all pages that are not requested yet.
    fn refill(&mut self) {
        while self.ring.in_flight() < self.page_count {
            let page = (self.posted % self.page_count) as usize;
            let request = netif_rx_request {
                id: request_id(self.posted),
                pad: 0,
                gref: self.pages.grants()[page].0,
            };
            if self.ring.push(&request).is_err() {
                return;
            }
            self.posted = self.posted.wrapping_add(1);
        }
    }

    /// Publishes requests; true where the backend wants an event.
    pub(crate) fn flush(&mut self) -> bool {
        self.ring.publish()
    }

    /// Copies the next frame out. Frames worth nothing are counted and passed over; there are never more of them than
    /// requests were made.
    pub(crate) fn try_receive(&mut self, into: &mut [u8]) -> Result<Option<Received>, Broken> {
        let mut received = None;
        let mut taken = 0;
        while received.is_none() {
            let (ring, mut broken) = (&mut self.ring, None);
            let verdict = self.chain.read(|| match ring.pop_indexed() {
                Ok(slot) => slot,
                Err(error) => {
                    broken = Some(error);
                    None
                }
            });
            if let Some(error) = broken {
                return Err(error);
            }
            taken += self.chain.slots;
            match verdict {
                None => break,
                Some(Ok(())) if self.chain.len <= into.len() => received = Some(self.copy_out(into)),
                Some(_) => self.dropped += 1,
            }
        }
        if taken > 0 {
            self.refill();
        }
        Ok(received)
    }

    fn copy_out(&self, into: &mut [u8]) -> Received {
        let mut done = 0;
        for piece in &self.chain.pieces {
            let page = (piece.slot % self.page_count) as usize;
            let len = usize::from(piece.len);
            self.pages.read(
                page * PAGE_SIZE + usize::from(piece.offset),
                &mut into[done..done + len],
            );
            done += len;
        }
        Received {
            len: done,
            meta: self.chain.meta,
        }
    }

    /// Asks for an event with the next frame; true if there is one.
    pub(crate) fn arm(&mut self) -> Result<bool, Broken> {
        self.ring.arm()
    }
}
