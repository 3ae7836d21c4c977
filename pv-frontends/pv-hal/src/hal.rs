//! The trait that a guest runtime implements.
use crate::{DomId, Error, GrantRef, Memory, Port};
use core::time::Duration;

/// What the grantee may do with a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Read it.
    ReadOnly,
    /// Read and write it.
    ReadWrite,
}

/// Which way [`Hal::copy`] goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the peer's granted page into a page of this domain.
    FromPeer,
    /// From a page of this domain into the peer's granted page.
    ToPeer,
}

/// One piece of a [`Hal::copy`]; it may reach over the end of a page on neither side.
#[derive(Clone, Copy, Debug)]
pub struct CopyPiece {
    /// The peer's page.
    pub grant: GrantRef,
    /// Where the piece begins in the peer's page, in bytes.
    pub grant_offset: u16,
    /// Where it begins in this domain's pages, in bytes from the first page's beginning.
    pub own_offset: u32,
    /// Bytes, at most a page.
    pub length: u16,
    /// Out: whether it was copied.
    pub result: Result<(), Error>,
}

impl CopyPiece {
    /// A piece that is not copied yet.
    pub fn new(grant: GrantRef, grant_offset: u16, own_offset: u32, length: u16) -> CopyPiece {
        CopyPiece {
            grant,
            grant_offset,
            own_offset,
            length,
            result: Err(Error::BadRange),
        }
    }
}

/// The machine under a driver: a handle that is cheap to clone; all clones stand for the same domain.
///
/// Calls return at once, but for [`wait`](Hal::wait). None panics because of what another domain does.
pub trait Hal: Clone {
    /// Pages of this domain. Clones share the pages, which are free again when the last clone is dropped *and* no grant
    /// on them is in use.
    type Pages: Memory + Clone;
    /// Pages of other domains, mapped; dropping it unmaps them.
    type Mapping: Memory;

    /// Takes pages, filled with zeros, consecutive in this domain's address space (not in the machine's).
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    fn allocate(&self, pages: usize) -> Result<Self::Pages, Error>;

    /// Lets `peer` reach one page. The grant lasts until [`end_access`](Hal::end_access).
    ///
    /// # Errors
    /// [`Error::NoGrants`]; [`Error::BadRange`] where there is no such page.
    fn grant(&self, pages: &Self::Pages, index: usize, peer: DomId, access: Access) -> Result<GrantRef, Error>;

    /// Takes a grant back. True: the peer has no access any more, and what it wrote is final. False: it still has the
    /// page mapped; the implementation keeps page and entry from reuse, and tries again later by itself. Either way the
    /// caller is done with the number. A grant that is not this domain's own answers true.
    fn end_access(&self, grant: GrantRef) -> bool;

    /// Maps pages that `peer` has granted, in this order, all of them or none.
    ///
    /// # Errors
    /// [`Error::BadGrant`], [`Error::NoDomain`], [`Error::NoGrants`]; [`Error::BadRange`] for an empty list.
    fn map(&self, peer: DomId, grants: &[GrantRef], access: Access) -> Result<Self::Mapping, Error>;

    /// Has the hypervisor copy between `own` pages and pages that `peer` has granted; each piece is tried and gets its
    /// result, [`Error::BadRange`] where it reaches over the end of a page.
    fn copy(&self, direction: Direction, peer: DomId, own: &Self::Pages, pieces: &mut [CopyPiece]);

    /// Makes a port that `peer` may bind to.
    ///
    /// # Errors
    /// [`Error::NoPorts`].
    fn allocate_unbound(&self, peer: DomId) -> Result<Port, Error>;

    /// Makes a port that is connected to `remote`, a port that `peer` has made for this domain.
    ///
    /// # Errors
    /// [`Error::BadPort`], [`Error::NoDomain`], [`Error::NoPorts`].
    fn bind_interdomain(&self, peer: DomId, remote: Port) -> Result<Port, Error>;

    /// Closes a port; without effect if it is closed. [`Channel`](crate::Channel) does it at its end.
    fn close(&self, port: Port);

    /// Sends an event; lost if the peer has closed its end.
    fn notify(&self, port: Port);

    /// Whether an event has come since the last call, which forgets it. Also true when the port has just been bound, and
    /// now and then for no reason.
    fn take_event(&self, port: Port) -> bool;

    /// Sleeps until one of the ports has an event that was not taken, or until [`now`](Hal::now) reaches `deadline`.
    /// True if there is an event, which stays to be [taken](Hal::take_event). Returns at once if there is one already.
    /// With no ports it sleeps until the deadline. The implementation may look at any number of ports beyond those that
    /// the hypervisor can wait for by waking up now and then.
    fn wait(&self, ports: &[Port], deadline: Option<Duration>) -> bool;

    /// Time since some fixed moment at or before this domain's start; never runs backwards.
    fn now(&self) -> Duration;

    /// Lets others run, where waiting for them by an event is not possible.
    fn yield_now(&self);

    /// The page and port that this domain shares with the store daemon (`store_mfn`, `store_evtchn` of `start_info`);
    /// none where it has no store.
    fn store_ring(&self) -> Option<(Self::Pages, Port)>;

    /// The page and port of this domain's first console (`console.domU` of `start_info`); none where it has none.
    fn console_ring(&self) -> Option<(Self::Pages, Port)>;
}
