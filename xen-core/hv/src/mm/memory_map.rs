//! The memory map that a toolstack gives a domain (`XENMEM_set_memory_map`).

use alloc::vec::Vec;
use xen_abi::Errno;
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

/// Most entries of a map, as tools know it.
pub const MAX_ENTRIES: usize = 128;

/// A domain's map; empty while nobody has set one.
pub struct MemoryMap {
    entries: Vec<E820Entry>,
}

impl MemoryMap {
    /// No map.
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// The entries.
    pub fn entries(&self) -> &[E820Entry] {
        &self.entries
    }

    /// Sets the map.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn set(&mut self, entries: &[E820Entry]) -> Result<(), Errno> {
        let mut new = Vec::new();
        new.try_reserve_exact(entries.len()).map_err(|_| Errno::ENOMEM)?;
        new.extend_from_slice(entries);
        self.entries = new;
        Ok(())
    }
}
