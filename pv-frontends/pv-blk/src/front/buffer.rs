//! Memory that requests move.

use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::AtomicU32;

use pv_hal::{Access, DomId, Error, GrantRef, Hal, Memory, PAGE_SIZE, PAGE_WORDS};

/// Whole pages to read into or to write from. A buffer is handed over with its request and comes back with the
/// completion; used again and again it keeps its grants, and the backend its mappings (persistent grants).
///
/// What it holds is the backend's to write for as long as it has grants: look at it once. Fill it by
/// [`Memory::write`], look at it by [`Memory::read`].
pub struct Buffer<H: Hal> {
    hal: H,
    pages: H::Pages,
    grants: Vec<GrantRef>,
    /// The connection that the grants were made for.
    connection: u64,
    /// A backend that has no grant any more may still have pages mapped.
    is_held: bool,
}

impl<H: Hal> Buffer<H> {
    /// Takes fresh pages for `bytes`, filled with zeros.
    ///
    /// # Errors
    /// There is no memory.
    pub fn new(hal: &H, bytes: usize) -> Result<Self, Error> {
        Ok(Self {
            hal: hal.clone(),
            pages: hal.allocate(bytes.div_ceil(PAGE_SIZE).max(1))?,
            grants: Vec::new(),
            connection: 0,
            is_held: false,
        })
    }

    /// The grants of the first `count` pages.
    pub(super) fn grants(&self, count: usize) -> &[GrantRef] {
        &self.grants[..count]
    }

    /// Lets `peer` reach the first `count` pages at least.
    pub(super) fn share(&mut self, connection: u64, peer: DomId, count: usize, access: Access) -> Result<(), Error> {
        if self.connection != connection || self.is_held {
            self.isolate()?;
            self.connection = connection;
        }
        while self.grants.len() < count {
            let grant = self.hal.grant(&self.pages, self.grants.len(), peer, access)?;
            self.grants.push(grant);
        }
        Ok(())
    }

    /// Ends access to all pages; false where the backend still has one of them mapped.
    pub(super) fn take_back(&mut self) -> bool {
        let mut is_over = true;
        for grant in self.grants.drain(..) {
            is_over &= self.hal.end_access(grant);
        }
        self.is_held |= !is_over;
        is_over
    }

    /// Makes sure that the backend of an earlier connection cannot reach the buffer any more: where it still has pages
    /// mapped, the contents move to others. Where there are none, the buffer is not shared again before there are.
    pub(super) fn isolate(&mut self) -> Result<(), Error> {
        self.take_back();
        if !self.is_held {
            return Ok(());
        }
        let fresh = self.hal.allocate(self.pages.page_count())?;
        let mut bytes = [0; 512];
        for at in (0..self.pages.byte_count()).step_by(bytes.len()) {
            self.pages.read(at, &mut bytes);
            fresh.write(at, &bytes);
        }
        self.pages = fresh;
        self.is_held = false;
        Ok(())
    }
}

impl<H: Hal> Memory for Buffer<H> {
    fn page_count(&self) -> usize {
        self.pages.page_count()
    }

    fn page(&self, index: usize) -> &[AtomicU32; PAGE_WORDS] {
        self.pages.page(index)
    }

    fn read(&self, offset: usize, into: &mut [u8]) {
        self.pages.read(offset, into);
    }

    fn write(&self, offset: usize, from: &[u8]) {
        self.pages.write(offset, from);
    }

    fn fill(&self, offset: usize, length: usize, value: u8) {
        self.pages.fill(offset, length, value);
    }
}

impl<H: Hal> Drop for Buffer<H> {
    fn drop(&mut self) {
        self.take_back();
    }
}

impl<H: Hal> fmt::Debug for Buffer<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pages = self.pages.page_count();
        f.debug_struct("Buffer")
            .field("pages", &pages)
            .field("grants", &self.grants)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use pv_hal::fake::{Kind, Machine};

    use super::*;

    #[test]
    fn pages_that_an_earlier_backend_holds_are_never_used_again() {
        let machine = Machine::new();
        let (front, back) = (machine.add_domain(1), machine.add_domain(2));
        let mut buffer = Buffer::new(&front, PAGE_SIZE).unwrap();
        buffer.share(1, back.id(), 1, Access::ReadWrite).unwrap();
        let held = back.map(front.id(), buffer.grants(1), Access::ReadWrite).unwrap();
        buffer.write(0, b"first");
        // No memory to move to, twice: the grant is gone after the first time, the mapping is not.
        for _ in 0..2 {
            machine.fail(front.id(), Kind::Allocate, 0, Error::NoMemory);
            assert_eq!(buffer.share(2, back.id(), 1, Access::ReadWrite), Err(Error::NoMemory));
        }
        buffer.share(2, back.id(), 1, Access::ReadWrite).unwrap();
        let mut seen = [0; 5];
        buffer.read(0, &mut seen);
        assert_eq!(&seen, b"first", "the contents have moved along");
        buffer.write(0, b"later");
        held.read(0, &mut seen);
        assert_eq!(&seen, b"first");
    }
}
