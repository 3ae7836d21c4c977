//! Pages that are granted to one peer.
use crate::{Access, DomId, Error, GrantRef, Hal, Memory, PAGE_WORDS};
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::AtomicU32;

/// Pages of this domain that one peer has grants of, as rings and persistent buffers are: all of them
/// ([`new`](SharedPages::new)), or the first so many ([`private`](SharedPages::private) and
/// [`share`](SharedPages::share)). Dropping them ends access.
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
        let mut pages = Self::private(hal, count)?;
        // Grants that were made before one fails are taken back when this is dropped.
        pages.share(peer, count, access)?;
        Ok(pages)
    }

    /// Takes fresh pages and grants none.
    ///
    /// # Errors
    /// As [`Hal::allocate`].
    pub fn private(hal: &H, count: usize) -> Result<Self, Error> {
        Ok(Self {
            hal: hal.clone(),
            pages: hal.allocate(count)?,
            grants: Vec::new(),
        })
    }

    /// Grants the first `count` pages, or those of them that are not granted yet, always to the same peer.
    ///
    /// # Errors
    /// As [`Hal::grant`]; what was granted before one fails stays so.
    pub fn share(&mut self, peer: DomId, count: usize, access: Access) -> Result<(), Error> {
        while self.grants.len() < count {
            let grant = self.hal.grant(&self.pages, self.grants.len(), peer, access)?;
            self.grants.push(grant);
        }
        Ok(())
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

    /// Ends access to all pages, which stay; otherwise as [`end_access`](SharedPages::end_access). Pages that the peer
    /// still has mapped must not be granted again.
    pub fn take_back(&mut self) -> bool {
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
