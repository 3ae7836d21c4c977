//! Memory in a stream: which frames, what they are used as, and their bytes.

use std::io::Write;

use crate::record::{self, Raw};
use crate::source::{le32, le64};
use crate::{PAGE_SIZE, Result};

/// Kind of the record.
pub(crate) const KIND: u32 = 1;
/// Bits of a frame's number.
const PFN_MASK: u64 = (1 << 52) - 1;
const KIND_SHIFT: u32 = 60;

/// What a frame is used as: `XEN_DOMCTL_PFINFO_*` of `public/domctl.h`, shifted down by 28 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageKind(u8);

impl PageKind {
    /// Ordinary memory.
    pub const NORMAL: Self = Self(0);
    /// Memory that cannot be read.
    pub const BROKEN: Self = Self(0xd);
    /// To be there, with whatever contents.
    pub const ALLOCATE: Self = Self(0xe);
    /// Not there.
    pub const INVALID: Self = Self(0xf);

    /// From the lowest four bits; none where they mean nothing.
    pub fn from_bits(bits: u8) -> Option<Self> {
        matches!(bits, 0..=4 | 9..=0xf).then_some(Self(bits))
    }

    /// From `XEN_DOMCTL_PFINFO_*`; none where it means nothing.
    pub fn from_info(word: u32) -> Option<Self> {
        Self::from_bits((word >> 28) as u8)
    }

    /// A page table of level 1 to 4; none for another level.
    pub fn table(level: u8, pinned: bool) -> Option<Self> {
        (1..=4)
            .contains(&level)
            .then_some(Self(level | if pinned { 8 } else { 0 }))
    }

    /// The four bits.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Whether its bytes are in the stream.
    pub fn has_data(self) -> bool {
        self.0 < 0xd
    }

    /// The level of a page table.
    pub fn level(self) -> Option<u8> {
        (self.has_data() && self.0 != 0).then_some(self.0 & 7)
    }

    /// Whether it is a page table that is pinned.
    pub fn is_pinned(self) -> bool {
        self.has_data() && self.0 & 8 != 0
    }
}

/// One record of memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PageData {
    /// Frames with their kinds, in the order of their bytes.
    pub frames: Vec<(u64, PageKind)>,
    body: Vec<u8>,
    data: usize,
}

impl PageData {
    /// The bytes of those frames that have any, one page behind the other, in the order of `frames`.
    pub fn pages(&self) -> impl Iterator<Item = &[u8]> {
        self.body[self.data..].chunks_exact(PAGE_SIZE)
    }

    /// The same, to be changed.
    pub fn pages_mut(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.body[self.data..].chunks_exact_mut(PAGE_SIZE)
    }

    pub(crate) fn parse(raw: Raw) -> Result<Self> {
        if raw.body.len() < 8 {
            return Err(raw.wrong("a record PAGE_DATA is shorter than its header"));
        }
        let count = le32(&raw.body, 0) as usize;
        let data = 8 + count.saturating_mul(8);
        if count == 0 || data > raw.body.len() {
            let len = raw.body.len();
            return Err(raw.wrong(format!("a record PAGE_DATA of {len} bytes speaks of {count} pages")));
        }
        let mut frames = Vec::with_capacity(count);
        let mut with_data = 0;
        for at in 0..count {
            let word = le64(&raw.body, 8 + at * 8);
            let (pfn, bits) = (word & PFN_MASK, (word >> KIND_SHIFT) as u8);
            let Some(kind) = PageKind::from_bits(bits) else {
                return Err(raw.wrong(format!("page {pfn:#x} is of kind {bits:#x}, which means nothing")));
            };
            with_data += usize::from(kind.has_data());
            frames.push((pfn, kind));
        }
        raw.expect_len("PAGE_DATA", data + with_data * PAGE_SIZE)?;
        Ok(Self {
            frames,
            body: raw.body,
            data,
        })
    }
}

/// Writes one record of memory: `data` has the bytes of those frames that have any.
///
/// # Errors
/// The stream's. The record must not be longer than [`crate::MOST_BODY`], and must have a frame.
pub fn write(to: &mut impl Write, frames: &[(u64, PageKind)], data: &[u8]) -> Result<()> {
    let mut list = Vec::with_capacity(8 + frames.len() * 8);
    list.extend_from_slice(&(frames.len() as u64).to_le_bytes());
    for (pfn, kind) in frames {
        let word = pfn & PFN_MASK | u64::from(kind.bits()) << KIND_SHIFT;
        list.extend_from_slice(&word.to_le_bytes());
    }
    record::write(to, KIND, &[&list, data])
}
