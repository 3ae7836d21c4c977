//! Free memory: the buddy allocator over the frame table, for the hypervisor and for domains.
//!
//! Free frames keep what they held. They are scrubbed when they are handed out again, and only if they belonged to
//! somebody since boot; translations to them are flushed at that time too, by the newest stamp among them.

use super::flush;
use super::frame::{self, FrameInfo, Mfn, Owner};
use super::layout::PAGE_SIZE;
use super::{directmap, m2p};
use crate::arch::x86::percpu::current;
use crate::domain::{self, Domain};
use crate::sync::Mutex;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use xen_abi::Errno;
use xen_logic::buddy::{Buddy, Frames, MAX_ORDER, Marks, NIL};
use xen_logic::frame::cells::{Frame, Word};
use xen_logic::frame::{CountWord, Type, TypeWord};

/// Limits of an allocation.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllocFlags {
    /// Machine addresses have at most this many bits; 0 is no limit.
    pub max_addr_bits: u32,
}

/// Frames that a guest cannot take by asking for more memory (4 MiB): what the hypervisor allocates to serve a guest
/// is small, but much of it (tree nodes, tables for device mappings) has no way to fail.
pub const RESERVE: u64 = 1024;

static FREE: Mutex<Buddy> = Mutex::new(Buddy::new());

/// The free lists' memory: the entries of free frames.
struct FrameTable;

impl Frames for FrameTable {
    fn block(&self, mfn: u32) -> Option<(u8, Marks)> {
        let info = frame::info(Mfn(mfn as u64))?;
        let (order, dirty) = info.owner().as_free_block()?;
        Some((
            order,
            Marks {
                dirty,
                epoch: info.epoch(),
            },
        ))
    }

    fn set_block(&mut self, mfn: u32, block: Option<(u8, Marks)>) {
        let info = frame::entry(Mfn(mfn as u64));
        match block {
            Some((order, marks)) => {
                info.set_epoch(marks.epoch);
                info.set_owner(Owner::free_block(order, marks.dirty));
            }
            None => info.set_owner(Owner::HV),
        }
    }

    fn links(&self, mfn: u32) -> (u32, u32) {
        let both = frame::entry(Mfn(mfn as u64)).link.load(Relaxed);
        (both as u32, (both >> 32) as u32)
    }

    fn set_links(&mut self, mfn: u32, (prev, next): (u32, u32)) {
        frame::entry(Mfn(mfn as u64))
            .link
            .store(prev as u64 | (next as u64) << 32, Relaxed);
    }

    fn newer(&self, a: u32, b: u32) -> u32 {
        flush::newer(a, b)
    }
}

/// Gives the RAM frames from `start` to before `end` to the allocator; nobody uses them.
pub fn add_region(start: u64, end: u64) {
    let end = end.min(frame::limit()).min(NIL as u64);
    if start < end {
        FREE.lock()
            .add_region(&mut FrameTable, start as u32, end as u32, Marks::default());
    }
}

/// Frames that are free.
pub fn free_frames() -> u64 {
    FREE.lock().free_frames()
}

/// Takes a block, free of translations, and says whether it must be scrubbed.
///
/// At least `keep` frames stay free.
fn take(order: u32, max_addr_bits: u32, keep: u64) -> Option<(Mfn, bool)> {
    let bits = if max_addr_bits == 0 {
        32
    } else {
        max_addr_bits.saturating_sub(12)
    };
    let order = u8::try_from(order).ok().filter(|order| *order <= MAX_ORDER)?;
    let (mfn, marks) = {
        let mut free = FREE.lock();
        if free.free_frames() < keep + (1 << order) {
            return None;
        }
        free.alloc(&mut FrameTable, order, bits)?
    };
    flush::flush_freed(marks.epoch);
    Some((Mfn(mfn as u64), marks.dirty))
}

/// Fills frames with zeros.
pub fn scrub(mfn: Mfn, order: u32) {
    let words = (PAGE_SIZE << order) / 8;
    // SAFETY: the frames are RAM, in the direct map, and nobody else's.
    unsafe { core::ptr::write_bytes(directmap(mfn.maddr()).cast::<u64>(), 0, words as usize) };
}

/// Takes 2^`order` frames for the hypervisor, filled with zeros.
pub fn alloc_pages(order: u32, flags: AllocFlags) -> Option<Mfn> {
    let (mfn, _) = take(order, flags.max_addr_bits, 0)?;
    scrub(mfn, order);
    Some(mfn)
}

/// Takes one zeroed frame, for a table.
pub fn alloc_table() -> Option<Mfn> {
    alloc_pages(0, AllocFlags::default())
}

/// Gives back what [`alloc_pages`] gave.
pub fn free_pages(mfn: Mfn, order: u32) {
    let epoch = frame::entry(mfn).epoch();
    FREE.lock()
        .free(&mut FrameTable, mfn.0 as u32, order as u8, Marks { dirty: true, epoch });
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

/// Gives 2^`order` frames to the domain, with addresses of at most `addr_bits` bits (0: no limit). Their contents are
/// nobody else's, but not necessarily zero. `keep` frames stay free.
///
/// # Errors
/// `ENOMEM` if the domain may not have more, or there are no such frames.
pub fn alloc_domain_pages(domain: &Domain, order: u32, addr_bits: u32, keep: u64) -> Result<Mfn, Errno> {
    if order > MAX_ORDER as u32 {
        return Err(Errno::ENOMEM);
    }
    charge(domain, 1 << order)?;
    match alloc_uncharged(order, addr_bits, keep) {
        Some(mfn) => {
            assign_block(mfn, order, domain);
            Ok(mfn)
        }
        None => {
            domain.mm.tot_pages.fetch_sub(1 << order, AcqRel);
            Err(Errno::ENOMEM)
        }
    }
}

/// Takes 2^`order` frames that are to be given to a domain by [`assign_block`], against others that it gives up.
/// `keep` frames stay free.
pub fn alloc_uncharged(order: u32, addr_bits: u32, keep: u64) -> Option<Mfn> {
    let (mfn, dirty) = take(order, addr_bits, keep)?;
    if dirty {
        scrub(mfn, order);
    }
    Some(mfn)
}

/// Makes a block the domain's; its account has been charged.
pub fn assign_block(mfn: Mfn, order: u32, domain: &Domain) {
    for n in 0..1 << order {
        frame::entry(Mfn(mfn.0 + n)).assign(Owner::domain(domain.id), TypeWord::UNUSED, CountWord::ALLOCATED);
    }
}

/// Gives a stolen frame back to its owner, as it was.
pub fn return_stolen(mfn: Mfn) {
    let info = frame::entry(mfn);
    // The type word is idle and stays: the stamp beside it still says what may be cached.
    info.assign(info.owner(), info.type_word(), CountWord::ALLOCATED);
}

/// Gives a stolen frame to the allocator, against another that the owner gets.
pub fn free_stolen(mfn: Mfn) {
    m2p::clear(mfn);
    frame::entry(mfn).unassign();
    free_pages(mfn, 0);
}

/// Lets a domain map a frame of the hypervisor's, which stays the hypervisor's: `typ` is what it may be used as,
/// `Writable`, or `None` for read-only mappings.
pub fn share(mfn: Mfn, domain: &Domain, typ: Type) {
    frame::entry(mfn).assign(Owner::domain(domain.id), TypeWord::shared(typ), CountWord::SHARED);
}

/// Lets the privileged domain map a frame of the hypervisor's read-only (`DOMID_XEN`), for ever.
pub fn share_read_only(mfn: Mfn) {
    let info = frame::entry(mfn);
    if info.owner() == Owner::HV {
        info.assign(Owner::XEN, TypeWord::shared(Type::None), CountWord::SHARED);
    }
}

/// A zeroed frame of the hypervisor's that the domain may map writable: shared info, grant tables.
pub fn alloc_shared_page(domain: &Domain) -> Option<Mfn> {
    let mfn = alloc_table()?;
    share(mfn, domain, Type::Writable);
    Some(mfn)
}

/// The last reference to a frame is gone.
pub(super) fn free_frame(info: &FrameInfo) {
    let mfn = info.mfn();
    let shared = CountWord(info.count().load()).is_shared();
    if !shared && let Some(id) = info.owner().domain_id() {
        uncharge(id);
    }
    m2p::clear(mfn);
    info.unassign();
    free_pages(mfn, 0);
}

fn uncharge(id: u16) {
    let here = current().domain();
    if here.id == id {
        here.mm.tot_pages.fetch_sub(1, AcqRel);
    } else if let Some(owner) = domain::find(id) {
        owner.mm.tot_pages.fetch_sub(1, AcqRel);
    }
}
