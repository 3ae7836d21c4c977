//! Machine memory: who owns a frame and what it is used as, guests' page tables, allocation, translations.
//!
//! `docs/soundness.md` says why no guest can reach what is not its own; the rules are in `xen_logic::frame`.
//!
//! Lock order: nothing here holds a lock while it asks another subsystem, the heap's lock is a leaf, and a busy frame
//! waits only for frames of a lower page-table level.

pub mod alloc;
pub mod descriptor;
pub mod diagnose;
pub mod emulated;
pub mod flush;
pub mod frame;
pub mod heap;
pub mod layout;
pub mod logdirty;
pub mod m2p;
pub mod memory_map;
pub mod pages;
pub mod paging;
pub mod pending;
pub mod perdomain;
pub mod pt;
mod relinquish;
pub mod root;
pub mod typing;
pub mod update;

pub use frame::Mfn;
pub use pages::{DomainMm, set_max_pages};
pub use relinquish::{drop_tables, relinquish};
pub use root::set_base_pointers;

/// Where the loader puts the image; `boot/start.s` says the same as `DELTA`.
const IMAGE_LOAD: u64 = 0x20_0000;

/// The hypervisor's address of machine address `maddr`, which is RAM.
#[inline]
pub fn directmap(maddr: u64) -> *mut u8 {
    layout::DIRECTMAP.wrapping_add(maddr) as *mut u8
}

/// The machine address behind a pointer into the direct map or the image.
#[inline]
pub fn maddr_of<T>(ptr: *const T) -> u64 {
    let va = ptr as u64;
    if va >= layout::DIRECTMAP {
        va - layout::DIRECTMAP
    } else {
        va - layout::IMAGE + IMAGE_LOAD
    }
}
