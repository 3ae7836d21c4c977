//! A domain's frames: how many it has and may have, the list of them, and how a frame comes to a domain and leaves it.
//!
//! Every frame that names the domain as its owner is counted: `tot_pages` those it got for itself, which are on its
//! list, `shared_pages` those that the hypervisor shares with it. Both fall only when a frame's last reference is gone,
//! whoever had it; so a domain's number may be given away again when both are zero, and not before.

use super::alloc::{self, For, FrameTable};
use super::frame::{self, FrameInfo, Mfn, Owner, TypedRef};
use super::{flush, logdirty, m2p};
use crate::arch::x86::percpu::current;
use crate::domain::{self, Domain};
use crate::sync::Mutex;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use xen_abi as abi;
use xen_abi::Errno;
use xen_logic::buddy::MAX_ORDER;
use xen_logic::frame::cells::{self, Frame, Word};
use xen_logic::frame::{CountWord, Type, TypeWord};
use xen_logic::page_list::PageList;

/// A domain's memory.
pub struct DomainMm {
    /// Frames it owns, those included that it has given up and that others still hold.
    pub tot_pages: AtomicU64,
    /// Frames it may own.
    pub max_pages: AtomicU64,
    /// Frames of the hypervisor's that are shared with it: `shared_info`, grant tables.
    pub shared_pages: AtomicU64,
    /// Free frames set aside for it; changes with the allocator's lock held.
    pub claim: AtomicU64,
    /// Its frames. A leaf: nothing is locked and nobody is asked for anything while it is held.
    pub(super) list: Mutex<PageList>,
    /// What `XENMEM_memory_map` tells it.
    pub map: Mutex<super::memory_map::MemoryMap>,
    /// Which of its pages are written.
    pub log: super::logdirty::DomainLog,
}

impl DomainMm {
    /// A domain without memory that may have `max_pages` frames.
    pub fn new(max_pages: u64) -> Self {
        Self {
            tot_pages: AtomicU64::new(0),
            max_pages: AtomicU64::new(max_pages),
            shared_pages: AtomicU64::new(0),
            claim: AtomicU64::new(0),
            list: Mutex::new(PageList::new()),
            map: Mutex::new(super::memory_map::MemoryMap::new()),
            log: super::logdirty::DomainLog::new(),
        }
    }

    /// Does any frame name it as its owner?
    pub fn has_frames(&self) -> bool {
        self.tot_pages.load(SeqCst) != 0 || self.shared_pages.load(SeqCst) != 0
    }
}

/// Sets how many frames the domain may own (`XEN_DOMCTL_max_mem`); it may own more by now.
pub fn set_max_pages(domain: &Domain, pages: u64) {
    domain.mm.max_pages.store(pages, Relaxed);
}

/// Takes `frames` more for the domain's account.
fn charge(domain: &Domain, frames: u64) -> Result<(), Errno> {
    let max = domain.mm.max_pages.load(Relaxed);
    let more = |tot: u64| tot.checked_add(frames).filter(|tot| *tot <= max);
    domain
        .mm
        .tot_pages
        .fetch_update(AcqRel, Acquire, more)
        .map(drop)
        .map_err(|_| Errno::ENOMEM)
}

/// Gives back `frames` of a counter of the domain's; the last of all is reported.
fn uncharge(domain: &Domain, counter: &AtomicU64, frames: u64) {
    if counter.fetch_sub(frames, SeqCst) == frames && !domain.mm.has_frames() {
        domain::frames_gone(domain);
    }
}

/// Gives 2^`order` frames to the domain, with addresses of at most `addr_bits` bits (0: no limit). Their contents are
/// nobody else's, but not necessarily zero.
///
/// # Errors
/// `ENOMEM` if the domain may not have more, or there are no such frames, or it is being taken apart.
pub fn alloc_domain_pages(domain: &Domain, order: u32, addr_bits: u32) -> Result<Mfn, Errno> {
    alloc_for(domain, order, addr_bits, For::Domain(&domain.mm))
}

/// As [`alloc_domain_pages`], for Dom0 at boot: to the last frame.
///
/// # Errors
/// As [`alloc_domain_pages`].
pub fn alloc_first_pages(domain: &Domain, order: u32) -> Result<Mfn, Errno> {
    alloc_for(domain, order, 0, For::Hypervisor)
}

fn alloc_for(domain: &Domain, order: u32, addr_bits: u32, whom: For) -> Result<Mfn, Errno> {
    if order > MAX_ORDER as u32 {
        return Err(Errno::ENOMEM);
    }
    charge(domain, 1 << order)?;
    let Some(mfn) = alloc::alloc_blank(order, addr_bits, whom) else {
        uncharge(domain, &domain.mm.tot_pages, 1 << order);
        return Err(Errno::ENOMEM);
    };
    assign_block(mfn, order, domain)?;
    Ok(mfn)
}

/// New frames at guest frame number `gpfn` and after it (`XENMEM_populate_physmap`).
///
/// # Errors
/// As [`alloc_domain_pages`].
pub fn populate_for(domain: &Domain, gpfn: u64, order: u32, addr_bits: u32) -> Result<Mfn, Errno> {
    let mfn = alloc_domain_pages(domain, order, addr_bits)?;
    for n in 0..1 << order {
        m2p::set(Mfn(mfn.0 + n), gpfn.wrapping_add(n));
        logdirty::page_numbered(domain, gpfn.wrapping_add(n));
    }
    Ok(mfn)
}

/// Takes 2^`order` frames that are to be given to the domain by [`assign_block`], against others that it gives up.
pub fn alloc_in_exchange(domain: &Domain, order: u32, addr_bits: u32) -> Option<Mfn> {
    alloc::alloc_blank(order, addr_bits, For::Domain(&domain.mm))
}

/// Makes a block the domain's; its account has been charged.
///
/// # Errors
/// `ENOMEM` if the domain is being taken apart: the frames are free again, and its account is relieved of them.
pub fn assign_block(mfn: Mfn, order: u32, domain: &Domain) -> Result<(), Errno> {
    let mut list = domain.mm.list.lock();
    if list.is_closed() {
        drop(list);
        alloc::free_pages(mfn, order);
        uncharge(domain, &domain.mm.tot_pages, 1 << order);
        return Err(Errno::ENOMEM);
    }
    for n in 0..1 << order {
        let info = frame::entry(Mfn(mfn.0 + n));
        info.assign(Owner::domain(domain.id), TypeWord::UNUSED, CountWord::ALLOCATED);
        // Not closed, as was seen.
        let _ = list.add(&mut FrameTable, info.mfn().0 as u32);
    }
    Ok(())
}

/// Takes a frame from the domain that nobody but its owner has a reference to: the caller has it then for itself, still
/// on the domain's list and its account, and gives it back, frees it or transfers it.
///
/// # Errors
/// `EINVAL` if it is not the domain's, or is in use.
pub fn steal(mfn: Mfn, domain: &Domain) -> Result<(), Errno> {
    let info = frame::info(mfn).ok_or(Errno::EINVAL)?;
    if !info.is_owned_by(domain) || !cells::steal(info) {
        return Err(Errno::EINVAL);
    }
    if !info.is_owned_by(domain) {
        // It changed hands in between: it is whoever's it was.
        return_stolen(mfn);
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// Gives a frame with its contents from one domain to another, which thereby gets one more. `promise` is asked when
/// nothing but its no stands in the way any more.
///
/// # Errors
/// `EINVAL` if it is not `from`'s, or is in use; `EPERM` without a promise; `ENOMEM` if `to` may not have more, or is
/// being taken apart: in the second case the frame is free.
pub fn transfer(mfn: Mfn, from: &Domain, to: &Domain, promise: impl FnOnce() -> bool) -> Result<(), Errno> {
    charge(to, 1)?;
    if let Err(errno) = steal(mfn, from) {
        uncharge(to, &to.mm.tot_pages, 1);
        return Err(errno);
    }
    if !promise() {
        return_stolen(mfn);
        uncharge(to, &to.mm.tot_pages, 1);
        return Err(Errno::EPERM);
    }
    let info = frame::entry(mfn);
    m2p::clear(mfn);
    unlist(info, from);
    flush::flush_freed(info.epoch());
    let given = assign_block(mfn, 0, to);
    uncharge(from, &from.mm.tot_pages, 1);
    given
}

/// Gives a stolen frame back to its owner, as it was.
pub fn return_stolen(mfn: Mfn) {
    let info = frame::entry(mfn);
    // The type word is idle and stays: the stamp beside it still says what may be cached.
    info.assign(info.owner(), info.type_word(), CountWord::ALLOCATED);
}

/// Gives a frame stolen from the domain to the allocator, against another that it gets: its account stays.
pub fn free_stolen(mfn: Mfn, domain: &Domain) {
    m2p::clear(mfn);
    unlist(frame::entry(mfn), domain);
    alloc::free_pages(mfn, 0);
}

/// The domain's account is relieved of frames that were taken off its list and are free.
pub(super) fn give_back(domain: &Domain, frames: u32) {
    if frames != 0 {
        uncharge(domain, &domain.mm.tot_pages, frames.into());
    }
}

/// Takes a frame off the domain's list, and its owner away.
fn unlist(info: &FrameInfo, domain: &Domain) {
    let mut list = domain.mm.list.lock();
    list.remove(&mut FrameTable, info.mfn().0 as u32);
    info.unassign();
}

/// A zeroed frame of the hypervisor's that the domain may map writable: shared info, grant tables.
pub fn alloc_shared_page(domain: &Domain) -> Option<Mfn> {
    let mfn = alloc::alloc_table()?;
    domain.mm.shared_pages.fetch_add(1, SeqCst);
    let typ = TypeWord::shared(Type::Writable);
    frame::entry(mfn).assign(Owner::domain(domain.id), typ, CountWord::SHARED);
    Some(mfn)
}

/// The hypervisor gives up its use of a frame that [`alloc_shared_page`] gave, once; the frame is free when nobody has
/// it mapped any more.
pub fn unshare(mfn: Mfn) {
    drop(TypedRef::from_raw(mfn));
}

/// Lets the privileged domain map a frame of the hypervisor's read-only (`DOMID_XEN`), for ever.
pub fn share_read_only(mfn: Mfn) {
    let info = frame::entry(mfn);
    if info.owner() == Owner::HV {
        info.assign(Owner::XEN, TypeWord::shared(Type::None), CountWord::SHARED);
    }
}

/// The last reference to a frame is gone.
pub(super) fn free_frame(info: &FrameInfo) {
    let mfn = info.mfn();
    let shared = CountWord(info.count().load()).is_shared();
    m2p::clear(mfn);
    let freed = info.owner().domain_id().and_then(|id| {
        with_domain(id, |owner| {
            match shared {
                true => info.unassign(),
                false => unlist(info, owner),
            }
            alloc::free_pages(mfn, 0);
            // Last: when the account is empty, all frames are back.
            let counter = if shared {
                &owner.mm.shared_pages
            } else {
                &owner.mm.tot_pages
            };
            uncharge(owner, counter, 1);
        })
    });
    if freed.is_none() {
        log::error!("frame {mfn} has no owner that could give it back: it is lost");
    }
}

/// Calls `f` with the domain of that number, which has frames and so is listed.
pub(super) fn with_domain<R>(id: u16, f: impl FnOnce(&Domain) -> R) -> Option<R> {
    let here = current().domain();
    if here.id == id {
        return Some(f(here));
    }
    domain::find(id).map(|owner| f(&owner))
}

/// What a frame is used as, the way tools that save a domain want it (`XEN_DOMCTL_PFINFO_*`): `XTAB` for what is not
/// the domain's own memory.
pub fn type_info(domain: &Domain, mfn: Mfn) -> u64 {
    let Ok(page) = frame::get_page(mfn, domain) else {
        return abi::XEN_DOMCTL_PFINFO_XTAB;
    };
    if page.info().count_word().is_shared() {
        return abi::XEN_DOMCTL_PFINFO_XTAB;
    }
    let word = page.info().type_word();
    let table = match word.typ() {
        Type::L1 => abi::XEN_DOMCTL_PFINFO_L1TAB,
        Type::L2 => abi::XEN_DOMCTL_PFINFO_L2TAB,
        Type::L3 => abi::XEN_DOMCTL_PFINFO_L3TAB,
        Type::L4 => abi::XEN_DOMCTL_PFINFO_L4TAB,
        _ => return abi::XEN_DOMCTL_PFINFO_NOTAB,
    };
    match (word.count() != 0, word.is_pinned()) {
        (false, _) => abi::XEN_DOMCTL_PFINFO_NOTAB,
        (true, false) => table,
        (true, true) => table | abi::XEN_DOMCTL_PFINFO_LPINTAB,
    }
}
