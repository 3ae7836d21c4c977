//! The machine-to-physical table: for each frame the guest frame number its owner gave it. Guests read it.
//!
//! Boot maps it for all frames of RAM, filled with [`INVALID`].

use super::frame::Mfn;
use super::layout::M2P_RW;
use super::{directmap, pages, paging};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use xen_logic::pte;

/// What stands in the entries of frames that are no guest's.
pub const INVALID: u64 = u64::MAX;

fn word(mfn: Mfn) -> &'static AtomicU64 {
    // SAFETY: the table is mapped for all frames of RAM, for ever; accesses are atomic.
    unsafe { AtomicU64::from_ptr((M2P_RW as *mut u64).add(mfn.0 as usize)) }
}

/// The guest frame number of a frame of RAM.
pub fn get(mfn: Mfn) -> u64 {
    word(mfn).load(Relaxed)
}

/// Sets the guest frame number of a frame of RAM.
#[inline]
pub fn set(mfn: Mfn, gpfn: u64) {
    word(mfn).store(gpfn, Relaxed);
}

/// Notes that the frame is no guest's.
#[inline]
pub fn clear(mfn: Mfn) {
    set(mfn, INVALID);
}

/// The first of the 512 frames that back the table's 2 MiB from byte `offset` on; `None` where there is no such run.
/// The privileged domain may then map them read-only.
pub fn share_extent(offset: u64) -> Option<Mfn> {
    let va = M2P_RW + offset;
    let mut table = paging::idle_l4().maddr();
    for level in [4, 3, 2] {
        // SAFETY: a table of the hypervisor's, in the direct map; the tables of this area do not change after boot.
        let entry = unsafe { directmap(table).cast::<u64>().add(pte::index(va, level)).read() };
        if entry & paging::bit::PRESENT == 0 {
            return None;
        }
        table = entry & paging::bit::ADDRESS;
        if level == 2 && entry & paging::bit::LARGE == 0 {
            return None;
        }
    }
    let first = Mfn(table >> 12);
    (0..512).for_each(|n| pages::share_read_only(Mfn(first.0 + n)));
    Some(first)
}
