//! Packets as a frontend sends them: chains of transmit requests, and what the backend makes of them.
//!
//! The first request counts the bytes of the whole packet; those after it each count their own, so the first piece's
//! share is what they leave. Extra infos stand between the first request and the second.

use alloc::vec::Vec;

use xen_abi::{NETTXF_extra_info, NETTXF_more_data, XEN_NETIF_NR_SLOTS_MIN, netif_extra_info, netif_tx_request};
use zerocopy::{FromBytes, IntoBytes};

use crate::PAGE_SIZE;
use crate::extra::{self, BadExtra, Extras};
use crate::meta::Meta;

/// Bytes of a transmit slot.
pub const SLOT: usize = size_of::<netif_tx_request>();

/// Most requests that a packet is taken from: what the header promises, behind the first one.
pub const MOST_PIECES: usize = XEN_NETIF_NR_SLOTS_MIN + 1;

/// From this many requests on, a packet is an attack and no longer a mistake.
const FATAL_PIECES: usize = MOST_PIECES + 2;

/// Smallest packet: an Ethernet header.
const SMALLEST: u16 = 14;

/// A part of a packet in one of the sender's pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Piece {
    /// The sender's grant of the page.
    pub gref: u32,
    /// Where in the page it begins, in bytes.
    pub offset: u16,
    /// Its length in bytes; `offset + len` stays within the page.
    pub len: u16,
}

/// A slot that wants an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slot {
    /// A request, with its identifier.
    Request(u16),
    /// An extra info: its answer is `NETIF_RSP_NULL`.
    Extra,
}

/// A ring that breaks the protocol: its device is given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    /// A packet that ends beyond the requests that are there.
    Unfinished,
    /// A packet of too many requests.
    TooManySlots,
    /// A piece that does not lie within its page.
    OutsidePage {
        /// Where it begins.
        offset: u16,
        /// Its length.
        size: u16,
    },
    /// Extra infos.
    Extra(BadExtra),
}

/// A packet that cannot be sent, from a ring that goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dropped {
    /// More requests than the header promises to take.
    TooManySlots,
    /// Pieces larger than the packet.
    SizeMismatch,
    /// No room for an Ethernet header.
    TooShort,
}

/// One chain of requests. Kept and filled again, so that it allocates only while it grows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TxChain {
    /// The packet's parts, in order.
    pub pieces: Vec<Piece>,
    /// Every slot that was taken from the ring, in order.
    pub slots: Vec<Slot>,
    /// Bytes in all pieces.
    pub len: usize,
    /// Checksum and segmentation.
    pub meta: Meta,
    /// What the extra infos said.
    pub extras: Extras,
}

impl TxChain {
    /// Takes the next packet's slots from `next`, which copies each out of the ring once. False where there is none.
    ///
    /// A dropped packet's slots have been taken, and stand in `slots` to be answered.
    ///
    /// # Errors
    /// [`Broken`]: what follows in the ring has no meaning.
    pub fn read(
        &mut self,
        mut next: impl FnMut() -> Option<[u8; SLOT]>,
    ) -> Result<Option<Result<(), Dropped>>, Broken> {
        self.clear();
        let Some(first) = next() else { return Ok(None) };
        let first: netif_tx_request = zerocopy::transmute!(first);
        self.slots.push(Slot::Request(first.id));
        self.meta = Meta::from_tx_flags(first.flags);
        if first.flags & NETTXF_extra_info != 0 {
            self.read_extras(&mut next)?;
        }
        if self.extras.multicast.is_some() {
            // Such a request carries no data, whatever its other fields say.
            return Ok(Some(Ok(())));
        }
        self.read_pieces(&first, next).map(Some)
    }

    fn clear(&mut self) {
        self.pieces.clear();
        self.slots.clear();
        self.len = 0;
        self.meta = Meta::default();
        self.extras = Extras::default();
    }

    fn read_extras(&mut self, mut next: impl FnMut() -> Option<[u8; SLOT]>) -> Result<(), Broken> {
        let result = self.extras.read(|| {
            let slot = next()?;
            netif_extra_info::read_from_prefix(&slot).ok().map(|(info, _)| info)
        });
        self.slots.extend(core::iter::repeat_n(Slot::Extra, self.extras.slots));
        self.meta.gso = self.extras.gso;
        result.map_err(Broken::Extra)
    }

    fn read_pieces(
        &mut self,
        first: &netif_tx_request,
        mut next: impl FnMut() -> Option<[u8; SLOT]>,
    ) -> Result<Result<(), Dropped>, Broken> {
        self.pieces.push(piece(first));
        let (mut left, mut verdict, mut more) = (first.size, Ok(()), first.flags & NETTXF_more_data != 0);
        let mut count = 1;
        while more {
            if count >= FATAL_PIECES {
                return Err(Broken::TooManySlots);
            }
            let request: netif_tx_request = zerocopy::transmute!(next().ok_or(Broken::Unfinished)?);
            self.slots.push(Slot::Request(request.id));
            count += 1;
            check_bounds(request.offset, request.size)?;
            match left.checked_sub(request.size) {
                _ if count > MOST_PIECES => verdict = verdict.and(Err(Dropped::TooManySlots)),
                None => verdict = verdict.and(Err(Dropped::SizeMismatch)),
                Some(rest) => {
                    left = rest;
                    self.pieces.push(piece(&request));
                }
            }
            more = request.flags & NETTXF_more_data != 0;
        }
        if verdict.is_ok() {
            check_bounds(first.offset, left)?;
            if first.size < SMALLEST {
                verdict = Err(Dropped::TooShort);
            }
        }
        self.pieces[0].len = left;
        self.len = usize::from(first.size);
        self.pieces.retain(|piece| piece.len != 0);
        Ok(verdict)
    }
}

fn piece(request: &netif_tx_request) -> Piece {
    Piece {
        gref: request.gref,
        offset: request.offset,
        len: request.size,
    }
}

fn check_bounds(offset: u16, size: u16) -> Result<(), Broken> {
    if usize::from(offset) + usize::from(size) > PAGE_SIZE {
        return Err(Broken::OutsidePage { offset, size });
    }
    Ok(())
}

/// Writes the slots of a packet whose `pieces` lie in pages of the sender, with the identifiers that `ids` gives them.
/// Sizes are as the header wants them: the whole in the first, its own in each other.
///
/// The caller has made sure that there are pieces, at most [`XEN_NETIF_NR_SLOTS_MIN`], of at most 65535 bytes together.
pub fn write(pieces: &[(u16, Piece)], meta: Meta, mut push: impl FnMut([u8; SLOT])) {
    let total = pieces.iter().map(|(_, piece)| piece.len).fold(0, u16::saturating_add);
    for (index, (id, piece)) in pieces.iter().enumerate() {
        let mut flags = if index + 1 < pieces.len() { NETTXF_more_data } else { 0 };
        if index == 0 {
            flags |= meta.tx_flags();
            if meta.gso.is_some() {
                flags |= NETTXF_extra_info;
            }
        }
        let request = netif_tx_request {
            gref: piece.gref,
            offset: piece.offset,
            flags,
            id: *id,
            size: if index == 0 { total } else { piece.len },
        };
        push(zerocopy::transmute!(request));
        if let (0, Some(gso)) = (index, meta.gso) {
            push(extra_slot(&extra::gso_info(gso)));
        }
    }
}

/// An extra info in a transmit slot, which is four bytes longer.
pub(crate) fn extra_slot(info: &netif_extra_info) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    slot[..size_of::<netif_extra_info>()].copy_from_slice(info.as_bytes());
    slot
}
