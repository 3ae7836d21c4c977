//! Memory that requests move.

use core::fmt;
use core::ops::Deref;

use pv_hal::{Access, DomId, Error, GrantRef, Hal, Memory, PAGE_SIZE, SharedPages};

/// Whole pages to read into or to write from. A buffer is handed over with its request and comes back with the
/// completion; used again and again it keeps its grants, and the backend its mappings (persistent grants).
///
/// What it holds is the backend's to write for as long as it has grants: look at it once. Fill it by
/// [`Memory::write`], look at it by [`Memory::read`].
pub struct Buffer<H: Hal> {
    hal: H,
    pages: SharedPages<H>,
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
            pages: SharedPages::private(hal, bytes.div_ceil(PAGE_SIZE).max(1))?,
            connection: 0,
            is_held: false,
        })
    }

    /// The grants of the first `count` pages.
    pub(super) fn grants(&self, count: usize) -> &[GrantRef] {
        &self.pages.grants()[..count]
    }

    /// Lets `peer` reach the first `count` pages at least.
    pub(super) fn share(&mut self, connection: u64, peer: DomId, count: usize, access: Access) -> Result<(), Error> {
        if self.connection != connection || self.is_held {
            self.isolate()?;
            self.connection = connection;
        }
        self.pages.share(peer, count, access)
    }

    /// Ends access to all pages; false where the backend still has one of them mapped.
    pub(super) fn take_back(&mut self) -> bool {
        let is_over = self.pages.take_back();
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
        let fresh = SharedPages::private(&self.hal, self.pages.page_count())?;
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

impl<H: Hal> Deref for Buffer<H> {
    type Target = H::Pages;

    fn deref(&self) -> &H::Pages {
        self.pages.pages()
    }
}

impl<H: Hal> fmt::Debug for Buffer<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("pages", &self.pages)
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
