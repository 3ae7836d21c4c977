//! Pages that are granted as a whole.
use crate::{Access, DomId, Error, GrantRef, Hal, Memory, PAGE_WORDS};
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::AtomicU32;

/// Pages of this domain, every one granted to one peer, as rings and persistent buffers are; dropping it ends access.
pub struct SharedPages<H: Hal> {
    hal: H,
    pages: H::Pages,
    grants: Vec<GrantRef>,
}

impl<H: Hal> SharedPages<H> {
    /// Takes fresh pages and grants them.
    ///
    /// # Errors
    /// As [`Hal::allocate`] and [`Hal::grant`]; nothing stays granted then.
    pub fn new(hal: &H, peer: DomId, count: usize, access: Access) -> Result<Self, Error> {
        let pages = hal.allocate(count)?;
        // Grants that were made before one fails are taken back when this is dropped.
        let mut shared = Self {
            hal: hal.clone(),
            pages,
            grants: Vec::with_capacity(count),
        };
        for index in 0..count {
            let grant = hal.grant(&shared.pages, index, peer, access)?;
            shared.grants.push(grant);
        }
        Ok(shared)
    }

    /// The grants, one a page, in order.
    pub fn grants(&self) -> &[GrantRef] {
        &self.grants
    }

    /// The pages themselves.
    pub fn pages(&self) -> &H::Pages {
        &self.pages
    }

    /// Ends access; true if the peer has none any more: what it wrote is final. See [`Hal::end_access`].
    pub fn end_access(mut self) -> bool {
        self.take_back()
    }

    fn take_back(&mut self) -> bool {
        let mut is_over = true;
        for grant in self.grants.drain(..) {
            is_over &= self.hal.end_access(grant);
        }
        is_over
    }
}

impl<H: Hal> Memory for SharedPages<H> {
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

impl<H: Hal> Drop for SharedPages<H> {
    fn drop(&mut self) {
        self.take_back();
    }
}

impl<H: Hal> fmt::Debug for SharedPages<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedPages")
            .field("grants", &self.grants)
            .finish_non_exhaustive()
    }
}
