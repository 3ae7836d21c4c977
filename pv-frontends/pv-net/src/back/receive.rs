//! A backend's end of what a guest receives.

use alloc::vec::Vec;
use core::ops::Range;

use pv_hal::{Direction, DomId, Hal, Memory, PAGE_SIZE};
use pv_ring::Back;
use xen_abi::{NETIF_RSP_ERROR, netif_rx_request, netif_rx_response};

use super::stage::Stage;
use crate::queues::Trouble;
use crate::rx_chain::{self, Part, SLOT};
use crate::{Error, Meta, SendError};

/// What goes into a slot once the copies are made.
enum Answer {
    Data {
        response: netif_rx_response,
        copies: Range<usize>,
    },
    Extra([u8; SLOT]),
}

pub(crate) struct Receive<H: Hal> {
    ring: Back<H::Mapping, netif_rx_request, [u8; SLOT]>,
    peer: DomId,
    stage: Stage<H>,
    answers: Vec<Answer>,
    /// Requests that the last frame would have taken that found too few.
    wanted: u32,
    /// Slots that could not be filled.
    pub(crate) errors: u64,
}

impl<H: Hal> Receive<H> {
    pub(crate) fn new(hal: &H, peer: DomId, ring: H::Mapping) -> Result<Self, Error> {
        Ok(Self {
            ring: Back::new(ring),
            peer,
            stage: Stage::new(hal)?,
            answers: Vec::new(),
            wanted: 1,
            errors: 0,
        })
    }

    /// Takes requests for a frame and keeps it until [`flush`](Self::flush).
    ///
    /// # Errors
    /// [`SendError::Full`]; [`SendError::Down`] for a broken ring.
    pub(crate) fn try_send(
        &mut self,
        hal: &H,
        frame: &[u8],
        meta: Meta,
        notify: impl FnMut(),
    ) -> Result<(), SendError> {
        let needed = rx_chain::slots_needed(frame.len(), meta) as u32;
        if self.ring.pending().map_err(|_| SendError::Down)? < needed {
            self.wanted = needed;
            return Err(SendError::Full);
        }
        if !self.stage.has_room() {
            self.flush(hal, notify);
        }
        for part in rx_chain::parts(frame.len(), meta) {
            let Ok(Some(request)) = self.ring.pop() else {
                return Err(SendError::Down);
            };
            match part {
                Part::Extra(slot) => self.answers.push(Answer::Extra(slot)),
                Part::Data { start, len, flags } => {
                    let (first, at) = (self.stage.copies.len(), self.stage.place(usize::from(len)));
                    self.stage.pages.write(at, &frame[start..start + usize::from(len)]);
                    self.stage.add_copy(request.gref, 0, at, len);
                    let response = netif_rx_response {
                        id: request.id,
                        offset: 0,
                        flags,
                        status: len as i16,
                    };
                    let copies = first..self.stage.copies.len();
                    self.answers.push(Answer::Data { response, copies });
                }
            }
        }
        Ok(())
    }

    /// Whether the guest has given room for a frame of `len` bytes, whatever stands beside it.
    pub(crate) fn has_room(&mut self, len: usize) -> bool {
        let needed = len.div_ceil(PAGE_SIZE) as u32 + 1;
        let has = self.ring.pending().is_ok_and(|pending| pending >= needed);
        if !has {
            self.wanted = needed;
        }
        has
    }

    /// Has the frames copied and answers.
    pub(crate) fn flush(&mut self, hal: &H, mut notify: impl FnMut()) {
        if self.answers.is_empty() {
            return;
        }
        hal.copy(Direction::ToPeer, self.peer, &self.stage.pages, &mut self.stage.copies);
        for answer in self.answers.drain(..) {
            let slot = match answer {
                Answer::Extra(slot) => slot,
                Answer::Data { mut response, copies } => {
                    if self.stage.copies[copies].iter().any(|copy| copy.result.is_err()) {
                        response.status = NETIF_RSP_ERROR;
                        self.errors += 1;
                    }
                    zerocopy::transmute!(response)
                }
            };
            self.ring.push(&slot);
        }
        self.stage.clear();
        if self.ring.publish() {
            notify();
        }
    }

    /// Asks for an event once there is room for the frame that found none last time; true if there is.
    pub(crate) fn arm(&mut self) -> Result<bool, Trouble> {
        self.ring.arm_for(self.wanted).map_err(|_| Trouble)
    }
}
