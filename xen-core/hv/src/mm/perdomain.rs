//! The per-domain area: a window for each vcpu's GDT and LDT, at the same place in every address space of the domain.
//!
//! One L3 table stands in L4 slot 260 of all the domain's L4 tables. Only the hypervisor reaches it.

use super::layout::{MAX_VCPUS, VCPU_WINDOW_PAGES, gdt_window};
use super::{Mfn, alloc, directmap, maddr_of};
use crate::arch::x86::{cpu, gdt};
use crate::sync::{Mutex, Once};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use xen_abi::Errno;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
const ACCESSED_DIRTY: u64 = 0x60;
const NO_EXECUTE: u64 = 1 << 63;
/// A table entry for the hypervisor alone.
const TABLE: u64 = PRESENT | WRITABLE | ACCESSED_DIRTY;
/// Descriptors are writable by the hypervisor, so that the CPU can set their accessed bits.
const DESCRIPTORS: u64 = PRESENT | WRITABLE | ACCESSED_DIRTY | NO_EXECUTE;

/// Vcpus whose windows share one L1 table.
const VCPUS_PER_TABLE: u64 = 512 / VCPU_WINDOW_PAGES;
const TABLES: usize = MAX_VCPUS / VCPUS_PER_TABLE as usize;

/// A domain's area.
pub struct PerDomain {
    l3: Mfn,
    l2: Mfn,
    l1: [Once<Mfn>; TABLES],
    adding: Mutex<()>,
}

/// Entry `index` of hypervisor table `table`.
fn entry(table: Mfn, index: u64) -> &'static AtomicU64 {
    // SAFETY: the table was allocated by this module, is used as a table only, and lives as long as the domain.
    unsafe { AtomicU64::from_ptr(directmap(table.maddr()).cast::<u64>().add(index as usize % 512)) }
}

fn new_table() -> Result<Mfn, Errno> {
    alloc::alloc_table().ok_or(Errno::ENOMEM)
}

impl PerDomain {
    /// An area without windows; `add_vcpu` makes those.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn new(_max_vcpus: u32) -> Result<Self, Errno> {
        let l3 = new_table()?;
        let l2 = new_table().inspect_err(|_| alloc::free_pages(l3, 0))?;
        entry(l3, 0).store(l2.maddr() | TABLE, Relaxed);
        Ok(Self {
            l3,
            l2,
            l1: [const { Once::new() }; TABLES],
            adding: Mutex::new(()),
        })
    }

    /// The L4 entry for slot 260.
    pub fn l4_entry(&self) -> u64 {
        self.l3.maddr() | TABLE
    }

    /// Makes sure that vcpu `id`'s window has its table.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub fn add_vcpu(&self, id: u32) -> Result<(), Errno> {
        let _guard = self.adding.lock();
        let slot = &self.l1[(id as u64 / VCPUS_PER_TABLE) as usize];
        if slot.get().is_none() {
            let table = new_table()?;
            slot.call_once(|| table);
            entry(self.l2, id as u64 / VCPUS_PER_TABLE).store(table.maddr() | TABLE, Relaxed);
        }
        Ok(())
    }

    fn window(&self, id: u32, page: u64) -> &'static AtomicU64 {
        let table = self.l1[(id as u64 / VCPUS_PER_TABLE) as usize]
            .get()
            .expect("a vcpu has a window");
        entry(*table, id as u64 % VCPUS_PER_TABLE * VCPU_WINDOW_PAGES + page)
    }

    /// Maps a frame of validated descriptors as page `page` of vcpu `id`'s window (GDT from 0, LDT from 16), or
    /// nothing. The caller flushes the translation where it may be cached.
    pub fn set_page(&self, id: u32, page: u64, frame: Option<Mfn>) {
        let value = frame.map_or(0, |f| f.maddr() | DESCRIPTORS);
        self.window(id, page).store(value, Relaxed);
    }

    /// Puts CPU `cpu`'s reserved page into vcpu `id`'s GDT; the caller loads CR3 afterwards.
    pub fn map_reserved_page(&self, id: u32, cpu: usize) {
        let maddr = maddr_of(gdt::reserved_page(cpu) as *const u8);
        self.window(id, gdt::FIRST_RESERVED_PAGE)
            .store(maddr | DESCRIPTORS, Relaxed);
    }
}

impl Drop for PerDomain {
    /// No CPU has loaded an address space of the domain since its vcpus were unloaded, and none knows its tables.
    fn drop(&mut self) {
        for table in self.l1.iter().filter_map(Once::get).chain([&self.l2, &self.l3]) {
            alloc::free_pages(*table, 0);
        }
    }
}

/// Drops this CPU's translation of page `page` of vcpu `id`'s window.
pub fn flush_window_page(id: u32, page: u64) {
    cpu::invlpg(gdt_window(id) + page * super::layout::PAGE_SIZE);
}
