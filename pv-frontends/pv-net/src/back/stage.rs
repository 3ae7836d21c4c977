//! Pages that the hypervisor copies frames into and out of.

use alloc::vec::Vec;

use pv_hal::{CopyPiece, GrantRef, Hal, Memory, PAGE_SIZE};

use crate::{Error, MAX_FRAME};

/// Two frames of the largest size, or many small ones.
const PAGES: usize = 2 * MAX_FRAME.div_ceil(PAGE_SIZE) + 2;

/// Frames begin at multiples of this, so that copies go by whole words.
const ALIGN: usize = 64;

/// A batch of copies and the bytes that they are about.
pub(crate) struct Stage<H: Hal> {
    pub(crate) pages: H::Pages,
    pub(crate) copies: Vec<CopyPiece>,
    used: usize,
}

impl<H: Hal> Stage<H> {
    pub(crate) fn new(hal: &H) -> Result<Self, Error> {
        Ok(Self {
            pages: hal.allocate(PAGES)?,
            copies: Vec::new(),
            used: 0,
        })
    }

    /// Forgets what is in it.
    pub(crate) fn clear(&mut self) {
        self.used = 0;
        self.copies.clear();
    }

    /// Whether a frame of the largest size fits.
    pub(crate) fn has_room(&self) -> bool {
        self.used + PAGE_SIZE + MAX_FRAME <= self.pages.byte_count()
    }

    /// Takes room for `len` bytes, at most [`MAX_FRAME`], that [`has_room`](Self::has_room) has seen; what fits into a
    /// page lies within one.
    pub(crate) fn place(&mut self, len: usize) -> usize {
        let left = PAGE_SIZE - self.used % PAGE_SIZE;
        if len <= PAGE_SIZE && len > left {
            self.used += left;
        }
        let start = self.used;
        self.used = (start + len).next_multiple_of(ALIGN);
        start
    }

    /// Adds copies between `len` bytes of a peer's page and the bytes at `own`, split where a page of these ends.
    pub(crate) fn add_copy(&mut self, grant: u32, offset: u16, own: usize, len: u16) {
        let mut done = 0;
        while done < len {
            let at = own + usize::from(done);
            let now = (len - done).min((PAGE_SIZE - at % PAGE_SIZE) as u16);
            let copy = CopyPiece::new(GrantRef(grant), offset + done, at as u32, now);
            self.copies.push(copy);
            done += now;
        }
    }
}
