//! A frontend's sending half of a queue.

use alloc::vec::Vec;

use pv_hal::{Access, DomId, Hal, Memory, PAGE_SIZE, SharedPages};
use pv_ring::{Broken, Front};
use xen_abi::{NETIF_RSP_NULL, NETIF_RSP_OKAY, XEN_NETIF_NR_SLOTS_MIN, netif_tx_response};

use crate::tx_chain::{self, Piece, SLOT};
use crate::{Error, Meta, SendError};

/// Sends frames from pages that stay granted; a request's identifier is its page's number.
pub(crate) struct Transmit<H: Hal> {
    ring: Front<SharedPages<H>, [u8; SLOT], netif_tx_response>,
    pages: SharedPages<H>,
    /// Pages that no request names.
    free: Vec<u16>,
    /// By page: named by a request that has no answer.
    in_flight: Vec<bool>,
    pieces: Vec<(u16, Piece)>,
    /// Answers that were errors.
    pub(crate) errors: u64,
}

impl<H: Hal> Transmit<H> {
    pub(crate) fn new(hal: &H, peer: DomId, pages: usize) -> Result<Self, Error> {
        let ring = SharedPages::new(hal, peer, 1, Access::ReadWrite)?;
        Ok(Self {
            ring: Front::new(ring),
            pages: SharedPages::new(hal, peer, pages, Access::ReadOnly)?,
            free: (0..pages as u16).rev().collect(),
            in_flight: alloc::vec![false; pages],
            pieces: Vec::new(),
            errors: 0,
        })
    }

    /// The grant of the ring.
    pub(crate) fn ring_ref(&self) -> u32 {
        self.ring.memory().grants()[0].0
    }

    /// Writes a frame's requests.
    pub(crate) fn try_send(&mut self, frame: &[u8], meta: Meta) -> Result<(), SendError> {
        let count = frame.len().div_ceil(PAGE_SIZE);
        let slots = count + usize::from(meta.gso.is_some());
        if count == 0 || count > XEN_NETIF_NR_SLOTS_MIN.min(self.in_flight.len()) {
            return Err(SendError::BadLength);
        }
        if count > self.free.len() || slots > self.ring.free_count() as usize {
            return Err(SendError::Full);
        }
        self.pieces.clear();
        for chunk in frame.chunks(PAGE_SIZE) {
            let Some(id) = self.free.pop() else {
                return Err(SendError::Full);
            };
            let page = usize::from(id);
            self.in_flight[page] = true;
            self.pages.write(page * PAGE_SIZE, chunk);
            let piece = Piece {
                gref: self.pages.grants()[page].0,
                offset: 0,
                len: chunk.len() as u16,
            };
            self.pieces.push((id, piece));
        }
        let (ring, mut result) = (&mut self.ring, Ok(()));
        tx_chain::write(&self.pieces, meta, |slot| {
            result = result.and(ring.push(&slot).map(drop))
        });
        // There was room for all of them: that was looked at.
        result.map_err(|_| SendError::Down)
    }

    /// Whether there is room for a frame of `len` bytes. Answers are taken only if there seems to be none.
    pub(crate) fn has_room(&mut self, len: usize) -> bool {
        let pages = len.div_ceil(PAGE_SIZE);
        let has = |this: &Self| pages <= this.free.len() && pages < this.ring.free_count() as usize;
        has(self) || (self.reap().is_ok() && has(self))
    }

    /// Publishes; true where the backend wants an event.
    pub(crate) fn flush(&mut self) -> bool {
        self.ring.publish()
    }

    /// Takes all answers. An identifier that is not under way is the backend's mistake, and changes nothing.
    pub(crate) fn reap(&mut self) -> Result<bool, Broken> {
        let mut freed = false;
        while let Some(response) = self.ring.pop()? {
            if response.status == NETIF_RSP_NULL {
                continue;
            }
            match self.in_flight.get_mut(usize::from(response.id)) {
                Some(flag @ true) => {
                    *flag = false;
                    self.free.push(response.id);
                    freed = true;
                    self.errors += u64::from(response.status != NETIF_RSP_OKAY);
                }
                _ => self.errors += 1,
            }
        }
        Ok(freed)
    }

    /// Asks for an event with the next answer; true if answers are there.
    pub(crate) fn arm(&mut self) -> Result<bool, Broken> {
        self.ring.arm()
    }

    /// Requests without an answer.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.iter().filter(|&&flag| flag).count()
    }
}
