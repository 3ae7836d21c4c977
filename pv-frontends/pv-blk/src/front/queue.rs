//! One ring of a device, with the requests that are in it.
#![expect(
    clippy::result_large_err,
    reason = "what cannot be sent comes back whole, without another allocation"
)]

use alloc::vec::Vec;

use pv_hal::{Access, Channel, DomId, Hal, Memory, PAGE_SIZE, Port, SharedPages};
use pv_ring::Front;
use xen_abi::{
    BLKIF_DISCARD_SECURE, BLKIF_MAX_SEGMENTS_PER_REQUEST, BLKIF_OP_DISCARD, BLKIF_OP_FLUSH_DISKCACHE,
    BLKIF_OP_INDIRECT, BLKIF_OP_READ, BLKIF_OP_WRITE, blkif_request, blkif_request_discard, blkif_request_indirect,
    blkif_request_segment, blkif_response,
};
use zerocopy::{FromZeros, IntoBytes};

use super::{Buffer, Completion, Error, Fault, Operation, Token};
use crate::negotiation::QueueAddress;
use crate::pending::Pending;
use crate::{SECTOR_SIZE, SECTORS_PER_PAGE, Status};

/// The connection that a queue belongs to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer {
    pub(super) domain: DomId,
    /// A number that no other connection has.
    pub(super) connection: u64,
    pub(super) handle: u16,
    /// Grants stay between requests.
    pub(super) persistent: bool,
}

/// A request that the backend has.
pub(super) struct Sent<H: Hal> {
    pub(super) token: Token,
    pub(super) operation: Operation,
    pub(super) buffer: Option<Buffer<H>>,
    /// The page that names its pages, where they are too many for a slot.
    indirect: Option<SharedPages<H>>,
}

impl<H: Hal> Sent<H> {
    pub(super) fn new(token: Token, operation: Operation, buffer: Option<Buffer<H>>) -> Self {
        Self {
            token,
            operation,
            buffer,
            indirect: None,
        }
    }

    pub(super) fn complete(self, result: Result<(), Error>) -> Completion<H> {
        Completion {
            token: self.token,
            operation: self.operation,
            result,
            buffer: self.buffer,
        }
    }
}

/// A ring, its event channel and its requests.
pub(super) struct Queue<H: Hal> {
    hal: H,
    peer: Peer,
    ring: Front<SharedPages<H>, blkif_request, blkif_response>,
    channel: Channel<H>,
    pending: Pending<Sent<H>>,
    /// Pages for segments that no request uses now; the backend may keep them mapped.
    spare: Vec<SharedPages<H>>,
    fault: Option<Fault>,
}

impl<H: Hal> Queue<H> {
    /// Makes an empty ring that the backend may take up.
    pub(super) fn new(hal: &H, peer: Peer, order: u32) -> Result<Self, pv_hal::Error> {
        let ring = SharedPages::new(hal, peer.domain, 1 << order, Access::ReadWrite)?;
        let ring = Front::with_slot_size(ring, size_of::<blkif_request>());
        Ok(Self {
            hal: hal.clone(),
            peer,
            channel: Channel::offer(hal, peer.domain)?,
            pending: Pending::new(ring.slot_count()),
            ring,
            spare: Vec::new(),
            fault: None,
        })
    }

    pub(super) fn address(&self) -> QueueAddress {
        QueueAddress {
            ring: self.ring.memory().grants().to_vec(),
            port: self.channel.port(),
        }
    }

    pub(super) fn port(&self) -> Port {
        self.channel.port()
    }

    pub(super) fn has_room(&self) -> bool {
        self.pending.has_room() && self.ring.free_count() > 0
    }

    pub(super) fn in_flight(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn take_event(&self) -> bool {
        self.channel.take_event()
    }

    /// Puts a request in; it goes off with [`publish`](Self::publish).
    ///
    /// # Errors
    /// There is no room, or no grant; the request comes back.
    pub(super) fn push(&mut self, mut sent: Sent<H>) -> Result<(), (Error, Sent<H>)> {
        if !self.has_room() {
            return Err((Error::Full, sent));
        }
        let mut request = match self.encode(&mut sent) {
            Ok(request) => request,
            Err(error) => {
                self.let_go(&mut sent);
                return Err((Error::Machine(error), sent));
            }
        };
        let id = match self.pending.insert(sent) {
            Ok(id) => id,
            Err(sent) => return Err((Error::Full, sent)),
        };
        // All kinds of requests have their id at the same place.
        request.id = id;
        match self.ring.push(&request) {
            Ok(_) => Ok(()),
            // Both have as many places, so this does not come to pass.
            Err(_) => self.pending.remove(id).map_or(Ok(()), |sent| Err((Error::Full, sent))),
        }
    }

    fn encode(&mut self, sent: &mut Sent<H>) -> Result<blkif_request, pv_hal::Error> {
        let (operation, sector, sectors) = match sent.operation {
            Operation::Read { sector, sectors } => (BLKIF_OP_READ, sector, sectors),
            Operation::Write { sector, sectors } => (BLKIF_OP_WRITE, sector, sectors),
            Operation::Flush => {
                return Ok(blkif_request {
                    operation: BLKIF_OP_FLUSH_DISKCACHE,
                    handle: self.peer.handle,
                    ..Default::default()
                });
            }
            Operation::Discard {
                sector,
                sectors,
                secure,
            } => return Ok(self.encode_discard(sector, sectors, secure)),
        };
        let pages = (sectors as usize).div_ceil(SECTORS_PER_PAGE);
        // A backend that keeps pages mapped maps them for writing, whatever they are used for first.
        let access = match operation == BLKIF_OP_WRITE && !self.peer.persistent {
            true => Access::ReadOnly,
            false => Access::ReadWrite,
        };
        let Some(buffer) = &mut sent.buffer else {
            return Err(pv_hal::Error::BadRange);
        };
        buffer.share(self.peer.connection, self.peer.domain, pages, access)?;
        let segments = segments(buffer, sectors as usize, pages);
        if pages <= BLKIF_MAX_SEGMENTS_PER_REQUEST {
            let mut request = blkif_request {
                operation,
                nr_segments: pages as u8,
                handle: self.peer.handle,
                sector_number: sector,
                ..Default::default()
            };
            for (slot, segment) in request.seg.iter_mut().zip(segments) {
                *slot = segment;
            }
            return Ok(request);
        }
        let list: Vec<blkif_request_segment> = segments.collect();
        self.encode_indirect(sent, operation, sector, &list)
    }

    fn encode_discard(&self, sector: u64, sectors: u64, secure: bool) -> blkif_request {
        let discard = blkif_request_discard {
            operation: BLKIF_OP_DISCARD,
            flag: if secure { BLKIF_DISCARD_SECURE } else { 0 },
            handle: self.peer.handle,
            sector_number: sector,
            nr_sectors: sectors,
            ..Default::default()
        };
        as_slot(discard.as_bytes())
    }

    fn encode_indirect(
        &mut self,
        sent: &mut Sent<H>,
        operation: u8,
        sector: u64,
        segments: &[blkif_request_segment],
    ) -> Result<blkif_request, pv_hal::Error> {
        let page = match self.spare.pop() {
            Some(page) => page,
            None => {
                let access = if self.peer.persistent {
                    Access::ReadWrite
                } else {
                    Access::ReadOnly
                };
                SharedPages::new(&self.hal, self.peer.domain, 1, access)?
            }
        };
        page.write(0, segments.as_bytes());
        let mut request = blkif_request_indirect {
            operation: BLKIF_OP_INDIRECT,
            indirect_op: operation,
            nr_segments: segments.len() as u16,
            handle: self.peer.handle,
            sector_number: sector,
            ..Default::default()
        };
        request.indirect_grefs[0] = page.grants()[0].0;
        sent.indirect = Some(page);
        Ok(as_slot(request.as_bytes()))
    }

    /// Lets the backend see new requests, with an event if it wants one.
    pub(super) fn publish(&mut self) {
        if self.ring.publish() {
            self.channel.notify();
        }
    }

    /// The next request that the backend has answered. One that it has answered wrongly fails, and is the last.
    ///
    /// # Errors
    /// The backend has broken the protocol.
    pub(super) fn pop(&mut self) -> Result<Option<Completion<H>>, Fault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let Some(response) = self.ring.pop().map_err(Fault::Ring)? else {
            return Ok(None);
        };
        let found = self.pending.remove(response.id);
        let mut sent = found.ok_or(Fault::UnknownRequest(response.id))?;
        let is_indirect = sent.indirect.is_some();
        let is_let_go = self.let_go(&mut sent);
        let is_right = response.operation == code(sent.operation)
            // The header does not say which of its two operations an answer repeats.
            || is_indirect && response.operation == BLKIF_OP_INDIRECT;
        if !is_right {
            self.fault = Some(Fault::WrongOperation(response.operation));
        } else if !is_let_go {
            self.fault = Some(Fault::PagesHeld);
            // Nobody can say what the pages hold now, or will.
            sent.buffer = None;
        }
        let result = match (self.fault, Status::from_code(response.status)) {
            (Some(fault), _) => Err(Error::Broken(fault)),
            (None, Status::Okay) => Ok(()),
            (None, Status::Error) => Err(Error::Failed),
            (None, Status::Unsupported) => Err(Error::Unsupported),
        };
        Ok(Some(sent.complete(result)))
    }

    /// Takes back what a request had granted, unless that is to stay. False where the backend holds it.
    fn let_go(&mut self, sent: &mut Sent<H>) -> bool {
        if let Some(page) = sent.indirect.take() {
            // The backend never writes this page; where it is still mapped, the next list goes into it all the same.
            self.spare.push(page);
        }
        self.peer.persistent || sent.buffer.as_mut().is_none_or(Buffer::take_back)
    }

    /// Asks for an event; true where there is an answer already.
    ///
    /// # Errors
    /// The backend has broken the ring.
    pub(super) fn arm(&mut self) -> Result<bool, Fault> {
        self.ring.arm().map_err(Fault::Ring)
    }

    /// Takes out all requests without an answer.
    pub(super) fn drain(&mut self) -> Vec<Sent<H>> {
        let mut requests = self.pending.drain();
        for sent in &mut requests {
            sent.indirect = None;
        }
        requests
    }
}

/// The operation as its answer repeats it.
fn code(operation: Operation) -> u8 {
    match operation {
        Operation::Read { .. } => BLKIF_OP_READ,
        Operation::Write { .. } => BLKIF_OP_WRITE,
        Operation::Flush => BLKIF_OP_FLUSH_DISKCACHE,
        Operation::Discard { .. } => BLKIF_OP_DISCARD,
    }
}

/// A request of another kind as the bytes of a slot.
fn as_slot(bytes: &[u8]) -> blkif_request {
    let mut slot = blkif_request::new_zeroed();
    slot.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
    slot
}

/// `sectors` from the buffer's beginning on, a segment a page.
fn segments<H: Hal>(
    buffer: &Buffer<H>,
    sectors: usize,
    pages: usize,
) -> impl Iterator<Item = blkif_request_segment> + '_ {
    let last = move |page: usize| (sectors - page * SECTORS_PER_PAGE).min(SECTORS_PER_PAGE) - 1;
    let grants = buffer.grants(pages).iter().enumerate();
    grants.map(move |(page, grant)| blkif_request_segment {
        gref: grant.0,
        first_sect: 0,
        last_sect: last(page) as u8,
        ..Default::default()
    })
}

const _: () = assert!(SECTOR_SIZE * SECTORS_PER_PAGE == PAGE_SIZE);
