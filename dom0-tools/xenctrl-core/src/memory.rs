//! Operations on domains' memory.

use alloc::vec::Vec;

use xen_abi::e820entry;

use crate::error::Result;
use crate::{DomId, Mapped};

/// The level of a page table to pin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PinLevel {
    /// Level 1.
    L1,
    /// Level 2.
    L2,
    /// Level 3.
    L3,
    /// Level 4, the root.
    L4,
}

/// What `XENMEM_acquire_resource` can hand out for a PV guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resource {
    /// Frames of grant entries.
    GrantTable,
    /// Frames of status words of a version-2 grant table.
    GrantStatus,
}

/// Memory of domains. Frame numbers: `mfn` are the machine's, `pfn` the domain's own.
#[allow(clippy::missing_errors_doc)]
pub trait Memory {
    /// Pages of a domain, mapped here.
    type Mapping: Mapped;

    /// Populates a domain with extents of `2^order` pages. `extents` has the first pfn of each on entry, and the first
    /// mfn of each that was done on return. Returns how many were done, counted from the front: memory may be short.
    fn populate(&self, domid: DomId, order: u32, extents: &mut [u64]) -> Result<usize>;
    /// Takes single pages, by mfn, from a domain; how many.
    fn decrease_reservation(&self, domid: DomId, mfns: &[u64]) -> Result<usize>;
    /// Sets memory for a domain aside before it is populated, in pages; 0 gives the rest back.
    fn claim_pages(&self, domid: DomId, pages: u64) -> Result<()>;
    /// Sets the memory map that the domain will read.
    fn set_memory_map(&self, domid: DomId, map: &[e820entry]) -> Result<()>;
    /// The machine's memory map.
    fn machine_memory_map(&self) -> Result<Vec<e820entry>>;
    /// Highest pfn of a domain.
    fn maximum_gpfn(&self, domid: DomId) -> Result<u64>;
    /// Pins page tables of a domain: they are checked, and stay page tables.
    fn pin_tables(&self, domid: DomId, tables: &[(PinLevel, u64)]) -> Result<()>;
    /// Unpins page tables of a domain.
    fn unpin_tables(&self, domid: DomId, mfns: &[u64]) -> Result<()>;
    /// Maps frames of a domain, in the order given.
    fn map_foreign(&self, domid: DomId, mfns: &[u64], writable: bool) -> Result<Self::Mapping>;
    /// Maps frames of a resource of a domain, its grant table for instance.
    fn map_resource(&self, domid: DomId, what: Resource, index: u32, count: usize) -> Result<Self::Mapping>;
}
