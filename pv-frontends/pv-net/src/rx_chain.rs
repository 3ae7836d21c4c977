//! Packets as a backend delivers them: chains of receive responses, and what the frontend makes of them.
//!
//! Each response counts its own bytes. A response, or an extra info in its stead, stands in the slot of the request
//! whose page it used, so the page is known by the slot alone.

use alloc::vec::Vec;

use xen_abi::{
    NETRXF_extra_info, NETRXF_gso_prefix, NETRXF_more_data, XEN_NETIF_EXTRA_FLAG_MORE, XEN_NETIF_NR_SLOTS_MIN,
    netif_extra_info, netif_rx_response,
};

use crate::PAGE_SIZE;
use crate::extra::{self, BadExtra, Extras};
use crate::meta::Meta;

/// Bytes of a receive slot.
pub const SLOT: usize = size_of::<netif_rx_response>();

/// Most pieces of a packet that are taken.
const MOST_PIECES: usize = XEN_NETIF_NR_SLOTS_MIN;

/// A part of a packet in one of the receiver's pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Number of the slot (free-running, as the ring counts), whose page holds it.
    pub slot: u32,
    /// Where in the page it begins, in bytes.
    pub offset: u16,
    /// Its length in bytes; `offset + len` stays within the page.
    pub len: u16,
}

/// Why a packet from a backend is dropped. The ring goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dropped {
    /// The backend could not fill it (`NETIF_RSP_ERROR` or another negative status).
    Refused(i16),
    /// A piece that does not lie within its page.
    OutsidePage {
        /// Where it begins.
        offset: u16,
        /// Its length.
        size: u16,
    },
    /// A response in another slot than its request's.
    WrongSlot {
        /// The identifier that was asked for.
        wanted: u16,
        /// The one that came.
        got: u16,
    },
    /// A packet that ends beyond the responses that are there.
    Unfinished,
    /// More pieces than any packet needs.
    TooManySlots,
    /// Extra infos.
    Extra(BadExtra),
    /// A packet without a byte, or the old way of telling segment sizes, which was not asked for.
    Malformed,
}

/// One chain of responses. Kept and filled again, so that it allocates only while it grows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RxChain {
    /// The packet's parts, in order.
    pub pieces: Vec<Piece>,
    /// Slots taken from the ring.
    pub slots: usize,
    /// Bytes in all pieces.
    pub len: usize,
    /// Checksum and segmentation.
    pub meta: Meta,
}

impl RxChain {
    /// Takes the next packet's slots from `next`, which gives the slot's number and a copy of its bytes. None where
    /// there is no packet; the reason where it is worth nothing. Its slots have been taken either way.
    pub fn read(&mut self, mut next: impl FnMut() -> Option<(u32, [u8; SLOT])>) -> Option<Result<(), Dropped>> {
        self.pieces.clear();
        (self.slots, self.len, self.meta) = (0, 0, Meta::default());
        let mut verdict = Ok(());
        let (mut slot, bytes) = next()?;
        let mut response: netif_rx_response = zerocopy::transmute!(bytes);
        self.slots = 1;
        self.meta = Meta::from_rx_flags(response.flags);
        if response.flags & NETRXF_gso_prefix != 0 {
            verdict = Err(Dropped::Malformed);
        }
        if response.flags & NETRXF_extra_info != 0 {
            verdict = verdict.and(self.read_extras(&mut next));
        }
        loop {
            let piece = self.check(slot, &response);
            verdict = verdict.and(piece.map(|piece| self.pieces.push(piece)));
            if response.flags & NETRXF_more_data == 0 {
                break;
            }
            let Some((number, bytes)) = next() else {
                return Some(verdict.and(Err(Dropped::Unfinished)));
            };
            (slot, response) = (number, zerocopy::transmute!(bytes));
            self.slots += 1;
        }
        self.len = self.pieces.iter().map(|piece| usize::from(piece.len)).sum();
        if self.len == 0 {
            verdict = verdict.and(Err(Dropped::Malformed));
        }
        Some(verdict)
    }

    /// Reads all extra infos, also behind a bad one: their slots must be known for the pages' sake.
    fn read_extras(&mut self, mut next: impl FnMut() -> Option<(u32, [u8; SLOT])>) -> Result<(), Dropped> {
        let (mut extras, mut verdict) = (Extras::default(), Ok(()));
        loop {
            let Some((_, bytes)) = next() else {
                return Err(Dropped::Extra(BadExtra::Missing));
            };
            self.slots += 1;
            let info: netif_extra_info = zerocopy::transmute!(bytes);
            let mut single = Some(netif_extra_info { flags: 0, ..info });
            verdict = verdict.and(extras.read(|| single.take()));
            if info.flags & XEN_NETIF_EXTRA_FLAG_MORE == 0 {
                break;
            }
        }
        self.meta.gso = extras.gso;
        verdict.map_err(Dropped::Extra)
    }

    fn check(&self, slot: u32, response: &netif_rx_response) -> Result<Piece, Dropped> {
        let size = u16::try_from(response.status).map_err(|_| Dropped::Refused(response.status))?;
        let (wanted, got) = (request_id(slot), response.id);
        if wanted != got {
            return Err(Dropped::WrongSlot { wanted, got });
        }
        if usize::from(response.offset) + usize::from(size) > PAGE_SIZE {
            return Err(Dropped::OutsidePage {
                offset: response.offset,
                size,
            });
        }
        if self.pieces.len() == MOST_PIECES {
            return Err(Dropped::TooManySlots);
        }
        Ok(Piece {
            slot,
            offset: response.offset,
            len: size,
        })
    }
}

/// The identifier of the request in a slot: its number, as far as it fits.
pub fn request_id(slot: u32) -> u16 {
    (slot & 0xffff) as u16
}

/// How many receive slots a packet takes.
pub fn slots_needed(len: usize, meta: Meta) -> usize {
    len.div_ceil(PAGE_SIZE).max(1) + usize::from(meta.gso.is_some())
}

/// Slots of a packet to deliver, in their order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Bytes `start..start + len` of the packet, to the beginning of a page.
    Data {
        /// First byte.
        start: usize,
        /// How many, at most a page.
        len: u16,
        /// `NETRXF_*` of the response.
        flags: u16,
    },
    /// An extra info, as it stands in the slot.
    Extra([u8; SLOT]),
}

/// Splits a packet into the slots that deliver it.
pub fn parts(len: usize, meta: Meta) -> impl Iterator<Item = Part> {
    let data = len.div_ceil(PAGE_SIZE).max(1);
    let gso = meta
        .gso
        .map(|gso| Part::Extra(zerocopy::transmute!(extra::gso_info(gso))));
    let piece = move |index: usize| {
        let start = index * PAGE_SIZE;
        let size = (len - start).min(PAGE_SIZE) as u16;
        let mut flags = if index + 1 < data { NETRXF_more_data } else { 0 };
        if index == 0 {
            flags |= meta.rx_flags();
            if meta.gso.is_some() {
                flags |= NETRXF_extra_info;
            }
        }
        Part::Data {
            start,
            len: size,
            flags,
        }
    };
    core::iter::once(piece(0)).chain(gso).chain((1..data).map(piece))
}
