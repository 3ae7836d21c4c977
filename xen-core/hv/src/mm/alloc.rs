//! Free memory: the buddy allocator over the frame table, for the hypervisor and for domains.
//!
//! Free frames keep what they held. They are scrubbed when they are handed out again; translations to them are flushed at that time too, by the newest stamp among them.
//!
//! A *claim* sets free frames aside for a domain that is about to get them (`XENMEM_claim_pages`): which ones is open,
//! so it is a number only.

use super::directmap;
use super::flush;
use super::frame::{self, Mfn, Owner};
use super::layout::PAGE_SIZE;
use super::pages::DomainMm;
use crate::hypercall::preempt_needed;
use crate::sync::Mutex;
use core::sync::atomic::Ordering::Relaxed;
use xen_abi::Errno;
use xen_logic::buddy::{Buddy, Frames, MAX_ORDER, Marks, NIL};
use xen_logic::page_list::Links;

pub use super::pages::{alloc_shared_page, transfer, unshare};

/// Limits of an allocation.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllocFlags {
    /// Machine addresses have at most this many bits; 0 is no limit.
    pub max_addr_bits: u32,
}

/// Frames that a guest cannot take by asking for more memory (4 MiB): what the hypervisor allocates to serve a guest
/// is small, but much of it (tree nodes, tables for device mappings) has no way to fail.
pub const RESERVE: u64 = 1024;

/// Free frames, and how many of them are claimed.
struct Pool {
    buddy: Buddy,
    /// The sum of all domains' claims, which change under this lock only.
    claimed: u64,
}

static POOL: Mutex<Pool> = Mutex::new(Pool {
    buddy: Buddy::new(),
    claimed: 0,
});

/// The memory of the lists of free frames, and of those of domains: the frames' entries.
pub(super) struct FrameTable;

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
        Links::links(self, mfn)
    }

    fn set_links(&mut self, mfn: u32, links: (u32, u32)) {
        Links::set_links(self, mfn, links);
    }

    fn newer(&self, a: u32, b: u32) -> u32 {
        flush::newer(a, b)
    }
}

impl Links for FrameTable {
    fn links(&self, mfn: u32) -> (u32, u32) {
        let both = frame::entry(Mfn(mfn as u64)).link.load(Relaxed);
        (both as u32, (both >> 32) as u32)
    }

    fn set_links(&mut self, mfn: u32, (prev, next): (u32, u32)) {
        frame::entry(Mfn(mfn as u64))
            .link
            .store(prev as u64 | (next as u64) << 32, Relaxed);
    }
}

/// Gives the RAM frames from `start` to before `end` to the allocator; nobody uses them.
pub fn add_region(start: u64, end: u64) {
    let end = end.min(frame::limit()).min(NIL as u64);
    if start < end {
        let buddy = &mut POOL.lock().buddy;
        // Whatever ran before, and the loader's modules, have left something in it.
        let marks = Marks { dirty: true, epoch: 0 };
        buddy.add_region(&mut FrameTable, start as u32, end as u32, marks);
    }
}

/// Frames that are free.
pub fn free_frames() -> u64 {
    POOL.lock().buddy.free_frames()
}

/// Frames that are free and claimed.
pub fn outstanding_claims() -> u64 {
    POOL.lock().claimed
}

/// Are there `frames` free ones for the hypervisor's own use, without touching the reserve? To be asked before a guest
/// or toolstack makes it allocate what has no way to fail.
///
/// # Errors
/// `ENOMEM`.
pub fn check_free(frames: u64) -> Result<(), Errno> {
    if free_frames() < RESERVE + frames {
        return Err(Errno::ENOMEM);
    }
    Ok(())
}

/// Claims as many frames as the domain lacks to `pages` in all, or takes its claim back for 0 pages.
///
/// # Errors
/// `EINVAL` if it has a claim, has that many frames, or may not have them; `ENOMEM` if there are not so many.
pub fn set_claim(mm: &DomainMm, pages: u64) -> Result<(), Errno> {
    let mut pool = POOL.lock();
    let old = mm.claim.load(Relaxed);
    if pages == 0 {
        pool.claimed -= old;
        mm.claim.store(0, Relaxed);
        return Ok(());
    }
    let more = pages.saturating_sub(mm.tot_pages.load(Relaxed));
    if old != 0 || more == 0 || pages > mm.max_pages.load(Relaxed) {
        return Err(Errno::EINVAL);
    }
    let taken = pool.claimed + RESERVE;
    if pool.buddy.free_frames().saturating_sub(taken) < more {
        return Err(Errno::ENOMEM);
    }
    pool.claimed += more;
    mm.claim.store(more, Relaxed);
    Ok(())
}

/// For whom frames are taken, and so how many must be left over.
#[derive(Clone, Copy)]
pub enum For<'a> {
    /// The hypervisor itself, or Dom0 at boot, which may see what was there before it: no limit.
    Hypervisor,
    /// A domain, which has perhaps claimed them: the reserve and what others have claimed are left.
    Domain(&'a DomainMm),
}

impl Pool {
    /// Takes a block and what it fulfils of the domain's claim.
    fn take(&mut self, order: u8, bits: u32, whom: For) -> Option<(u32, Marks)> {
        let size = 1 << order;
        if let For::Domain(mm) = whom {
            let others = self.claimed - mm.claim.load(Relaxed);
            if self.buddy.free_frames() < RESERVE + others + size {
                return None;
            }
        }
        let block = self.buddy.alloc(&mut FrameTable, order, bits)?;
        if let For::Domain(mm) = whom {
            let claim = mm.claim.load(Relaxed);
            let fulfilled = claim.min(size);
            mm.claim.store(claim - fulfilled, Relaxed);
            self.claimed -= fulfilled;
        }
        Some(block)
    }
}

/// Takes a block, free of translations, and says whether it must be scrubbed.
fn take(order: u32, max_addr_bits: u32, whom: For) -> Option<(Mfn, bool)> {
    let bits = if max_addr_bits == 0 {
        32
    } else {
        max_addr_bits.saturating_sub(12)
    };
    let order = u8::try_from(order).ok().filter(|order| *order <= MAX_ORDER)?;
    let (mfn, marks) = POOL.lock().take(order, bits, whom)?;
    flush::flush_freed(marks.epoch);
    Some((Mfn(mfn as u64), marks.dirty))
}

/// Fills frames with zeros.
pub fn scrub(mfn: Mfn, order: u32) {
    let words = (PAGE_SIZE << order) / 8;
    // SAFETY: the frames are RAM, in the direct map, and nobody else's.
    unsafe { core::ptr::write_bytes(directmap(mfn.maddr()).cast::<u64>(), 0, words as usize) };
}

/// What is scrubbed in one go: 2 MiB.
const SCRUB_ORDER: u32 = 9;

/// Fills frames with zeros; between portions interrupts are served. The caller holds no lock.
fn scrub_by_portions(mfn: Mfn, order: u32) {
    let portion = order.min(SCRUB_ORDER);
    for n in 0..1 << (order - portion) {
        if n != 0 {
            preempt_needed();
        }
        scrub(Mfn(mfn.0 + (n << portion)), portion);
    }
}

/// Takes 2^`order` frames for the hypervisor, filled with zeros.
pub fn alloc_pages(order: u32, flags: AllocFlags) -> Option<Mfn> {
    let (mfn, _) = take(order, flags.max_addr_bits, For::Hypervisor)?;
    scrub(mfn, order);
    Some(mfn)
}

/// Takes one zeroed frame, for a table.
pub fn alloc_table() -> Option<Mfn> {
    alloc_pages(0, AllocFlags::default())
}

/// Gives back what [`alloc_pages`] gave, or frames of a domain that nobody has a reference to.
pub fn free_pages(mfn: Mfn, order: u32) {
    let epoch = frame::entry(mfn).epoch();
    let marks = Marks { dirty: true, epoch };
    POOL.lock()
        .buddy
        .free(&mut FrameTable, mfn.0 as u32, order as u8, marks);
}

/// Gives back the frames from `start` to before `end`, which nobody has a reference to any more: translations to them may
/// be cached until now.
pub(super) fn free_run(start: u32, end: u32) {
    let marks = Marks {
        dirty: true,
        epoch: flush::epoch_now(),
    };
    POOL.lock().buddy.add_region(&mut FrameTable, start, end, marks);
}

/// Takes 2^`order` frames that a domain is to get. Their contents are nobody else's, but at boot. Later, the caller holds
/// no lock.
pub(super) fn alloc_blank(order: u32, addr_bits: u32, whom: For) -> Option<Mfn> {
    let (mfn, dirty) = take(order, addr_bits, whom)?;
    if dirty && matches!(whom, For::Domain(_)) {
        scrub_by_portions(mfn, order);
    }
    Some(mfn)
}
