//! The guest as drivers see it: `pv-hal`'s trait over hypercalls.
use crate::grants::{self, Mapped, SharedTable, Table};
use crate::{clock, frames, pages, ports, start_info, vcpu};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::time::Duration;
use pv_hal::{Access, CopyPiece, Direction, DomId, Error, GrantRef, Hal, Memory, PAGE_SIZE, PAGE_WORDS, Port};
use xen_abi::*;

/// This domain. All values are the same one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Machine;

/// Pages of this guest's memory.
#[derive(Clone, Debug)]
pub struct Pages(Arc<Run>);

/// A run of pages; they are free again at its end.
#[derive(Debug)]
struct Run {
    address: u64,
    count: usize,
    /// The domain builder's pages are never given back.
    is_own: bool,
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.is_own {
            // SAFETY: the last clone is gone, a grant in use would keep one, and the pages were never remapped.
            unsafe { frames::give_run(self.address, self.count as u64) };
        }
    }
}

impl Pages {
    /// The page of the domain builder with this machine frame.
    fn of_builder(mfn: u64) -> Pages {
        Pages(Arc::new(Run {
            address: frames::address_of(pages::pfn_of(mfn)),
            count: 1,
            is_own: false,
        }))
    }

    /// The machine frame of a page.
    pub fn mfn(&self, index: usize) -> u64 {
        assert!(index < self.0.count, "page {index} of {}", self.0.count);
        pages::mfn_of(self.0.address + (index * PAGE_SIZE) as u64)
    }

    /// Address of the first byte.
    pub fn address(&self) -> u64 {
        self.0.address
    }
}

/// Pages of another domain, mapped; they are unmapped at its end.
pub struct Mapping(Mapped);

/// The words of a page of shared memory.
fn words<'a>(address: u64, index: usize, count: usize) -> &'a [AtomicU32; PAGE_WORDS] {
    assert!(index < count, "page {index} of {count}");
    // SAFETY: the holder keeps the pages mapped while it is borrowed; other domains write them, hence atomics.
    unsafe { &*((address + (index * PAGE_SIZE) as u64) as *const [AtomicU32; PAGE_WORDS]) }
}

fn check_range(offset: usize, length: usize, pages: usize) {
    let end = offset.checked_add(length);
    assert!(
        end.is_some_and(|end| end <= pages * PAGE_SIZE),
        "{length} bytes at {offset} in {pages} pages"
    );
}

/// Copies bytes out of memory that other domains may write meanwhile.
fn read(address: u64, into: &mut [u8]) {
    // SAFETY: callers have checked the range; string instructions, so that the compiler assumes nothing of the source.
    unsafe { crate::memory::copy_opaque(into.as_mut_ptr(), address as *const u8, into.len()) };
}

/// Copies bytes into memory that other domains may read meanwhile.
fn write(address: u64, from: &[u8]) {
    // SAFETY: as for `read`.
    unsafe { crate::memory::copy_opaque(address as *mut u8, from.as_ptr(), from.len()) };
}

macro_rules! memory {
    ($type:ty, |$this:ident| $address:expr, $count:expr) => {
        impl Memory for $type {
            fn page_count(&self) -> usize {
                let $this = self;
                $count
            }

            fn page(&self, index: usize) -> &[AtomicU32; PAGE_WORDS] {
                let $this = self;
                words($address, index, $count)
            }

            fn read(&self, offset: usize, into: &mut [u8]) {
                let $this = self;
                check_range(offset, into.len(), $count);
                read($address + offset as u64, into);
            }

            fn write(&self, offset: usize, from: &[u8]) {
                let $this = self;
                check_range(offset, from.len(), $count);
                write($address + offset as u64, from);
            }
        }
    };
}

memory!(Pages, |this| this.0.address, this.0.count);
memory!(Mapping, |this| this.0.address, this.0.count());

static GRANTS: SharedTable<Pages> = SharedTable::new(Table::new());
static LATEST: AtomicU64 = AtomicU64::new(0);

#[expect(non_upper_case_globals, reason = "the header's spelling")]
fn error_of_status(status: i16) -> Error {
    match status {
        GNTST_bad_domain => Error::NoDomain,
        GNTST_bad_gntref | GNTST_bad_page => Error::BadGrant,
        GNTST_bad_copy_arg => Error::BadRange,
        GNTST_permission_denied => Error::Denied,
        GNTST_no_device_space | GNTST_no_space => Error::NoGrants,
        _ => Error::Other(status.into()),
    }
}

fn error_of_errno(answer: i64) -> Error {
    let number = u16::try_from(-answer).unwrap_or(0);
    match Errno(number) {
        Errno::ENOMEM => Error::NoMemory,
        Errno::ENOSPC => Error::NoPorts,
        Errno::ESRCH => Error::NoDomain,
        Errno::EINVAL | Errno::ENOENT => Error::BadPort,
        Errno::EPERM | Errno::EACCES => Error::Denied,
        _ => Error::Other(answer),
    }
}

/// Pieces that one hypercall copies.
const COPIES: usize = 32;

/// One piece as the hypervisor wants it; `None` where it reaches over an end.
fn copy_request(direction: Direction, peer: DomId, own: &Pages, piece: &CopyPiece) -> Option<gnttab_copy> {
    let length = usize::from(piece.length);
    let (index, offset) = (
        piece.own_offset as usize / PAGE_SIZE,
        piece.own_offset as usize % PAGE_SIZE,
    );
    let fits = |offset: usize| offset + length <= PAGE_SIZE;
    if index >= own.0.count || !fits(offset) || !fits(piece.grant_offset.into()) {
        return None;
    }
    let mine = gnttab_copy_ptr {
        u: own.mfn(index),
        domid: DOMID_SELF,
        offset: offset as u16,
        _pad: 0,
    };
    let theirs = gnttab_copy_ptr {
        u: piece.grant.0.into(),
        domid: peer.0,
        offset: piece.grant_offset,
        _pad: 0,
    };
    let (source, dest, flags) = match direction {
        Direction::FromPeer => (theirs, mine, GNTCOPY_source_gref),
        Direction::ToPeer => (mine, theirs, GNTCOPY_dest_gref),
    };
    Some(gnttab_copy {
        source,
        dest,
        len: piece.length,
        flags,
        ..Default::default()
    })
}

impl Hal for Machine {
    type Pages = Pages;
    type Mapping = Mapping;

    fn allocate(&self, pages: usize) -> Result<Pages, Error> {
        if pages == 0 {
            return Err(Error::BadRange);
        }
        let take = |count: u64| {
            if count == 1 {
                return frames::take();
            }
            frames::take_run(count).inspect(|&address| {
                // SAFETY: pages that nobody else has, mapped writable.
                unsafe { core::ptr::write_bytes(address as *mut u8, 0, count as usize * PAGE_SIZE) }
            })
        };
        let first = take(pages as u64).or_else(|| {
            GRANTS.lock().reclaim();
            take(pages as u64)
        });
        first.ok_or(Error::NoMemory).map(|address| {
            Pages(Arc::new(Run {
                address,
                count: pages,
                is_own: true,
            }))
        })
    }

    fn grant(&self, pages: &Pages, index: usize, peer: DomId, access: Access) -> Result<GrantRef, Error> {
        if index >= pages.0.count {
            return Err(Error::BadRange);
        }
        let read_only = access == Access::ReadOnly;
        let granted = GRANTS.lock().grant(pages.mfn(index), peer.0, read_only, pages.clone());
        granted.map(GrantRef).ok_or(Error::NoGrants)
    }

    fn end_access(&self, grant: GrantRef) -> bool {
        GRANTS.lock().end(grant.0)
    }

    fn map(&self, peer: DomId, grants: &[GrantRef], access: Access) -> Result<Mapping, Error> {
        if grants.is_empty() {
            return Err(Error::BadRange);
        }
        let numbers = grants.iter().map(|grant| grant.0);
        match Mapped::new(peer.0, numbers, access == Access::ReadOnly) {
            Ok(mapped) => Ok(Mapping(mapped)),
            Err(0) => Err(Error::NoGrants),
            Err(status) => Err(error_of_status(status)),
        }
    }

    fn copy(&self, direction: Direction, peer: DomId, own: &Pages, pieces: &mut [CopyPiece]) {
        for pieces in pieces.chunks_mut(COPIES) {
            let mut requests = [gnttab_copy::default(); COPIES];
            let mut count = 0;
            for piece in pieces.iter_mut() {
                piece.result = Err(Error::BadRange);
                if let Some(request) = copy_request(direction, peer, own, piece) {
                    requests[count] = request;
                    count += 1;
                    piece.result = Ok(());
                }
            }
            let answer = match count {
                0 => 0,
                _ => grants::operate(GNTTABOP_copy, &mut requests[..count]),
            };
            let tried = pieces.iter_mut().filter(|piece| piece.result.is_ok());
            for (piece, request) in tried.zip(&requests) {
                piece.result = if answer < 0 {
                    Err(Error::Other(answer))
                } else if request.status != GNTST_okay {
                    Err(error_of_status(request.status))
                } else {
                    Ok(())
                };
            }
        }
    }

    fn allocate_unbound(&self, peer: DomId) -> Result<Port, Error> {
        ports::allocate_unbound(peer.0).map(Port).map_err(error_of_errno)
    }

    fn bind_interdomain(&self, peer: DomId, remote: Port) -> Result<Port, Error> {
        ports::bind_interdomain(peer.0, remote.0)
            .map(Port)
            .map_err(error_of_errno)
    }

    fn close(&self, port: Port) {
        ports::close(port.0);
    }

    fn notify(&self, port: Port) {
        ports::send(port.0);
    }

    fn take_event(&self, port: Port) -> bool {
        ports::take(port.0)
    }

    fn wait(&self, list: &[Port], deadline: Option<Duration>) -> bool {
        let deadline = deadline.map(|deadline| u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX).max(1));
        ports::wait(list.iter().map(|port| port.0), deadline)
    }

    fn now(&self) -> Duration {
        // The clocks of two vcpus may differ by a little.
        let now = clock::system_time();
        Duration::from_nanos(LATEST.fetch_max(now, Ordering::Relaxed).max(now))
    }

    fn yield_now(&self) {
        vcpu::yield_now();
    }

    fn store_ring(&self) -> Option<(Pages, Port)> {
        let info = start_info();
        (info.store_mfn != 0).then(|| (Pages::of_builder(info.store_mfn), Port(info.store_evtchn)))
    }

    fn console_ring(&self) -> Option<(Pages, Port)> {
        let info = start_info();
        let is_dom0 = info.flags & SIF_INITDOMAIN != 0;
        (!is_dom0 && info.console.word != 0).then(|| (Pages::of_builder(info.console.word), Port(info.console.evtchn)))
    }
}
