//! The memory map that a toolstack gives a domain (`XENMEM_set_memory_map`).

use alloc::vec::Vec;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An entry as BIOSes and this interface have it.
#[derive(Clone, Copy, IntoBytes, Immutable, KnownLayout, FromBytes)]
#[repr(C, packed)]
pub struct E820Entry {
    /// Address of the range's first byte.
    pub addr: u64,
    /// Bytes.
    pub size: u64,
    /// `E820_*`.
    pub kind: u32,
}

/// Most entries of a map, as on Xen.
pub const MAX_ENTRIES: usize = 1024;

/// A domain's map; empty while nobody has set one.
pub struct MemoryMap {
    entries: Vec<E820Entry>,
}

impl MemoryMap {
    /// No map.
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// The entry of that number, if the map has so many.
    pub fn entry(&self, index: usize) -> Option<E820Entry> {
        self.entries.get(index).copied()
    }

    /// Sets the map; answers the old one, to be dropped when no lock is held.
    pub fn replace(&mut self, entries: Vec<E820Entry>) -> Vec<E820Entry> {
        core::mem::replace(&mut self.entries, entries)
    }
}
