//! Frames and page tables: pages, the list of machine frames, entries, tables and pins.
use crate::{frames, hypercall, start_info};
use core::cell::UnsafeCell;
use xen_abi::*;

/// Where the image's frame 0 is mapped.
pub const VIRT_BASE: u64 = 0xffff_ffff_8000_0000;
/// Page-table entry bits.
pub const PTE_PRESENT: u64 = 1;
/// Writable.
pub const PTE_WRITE: u64 = 2;
/// Open to user mode.
pub const PTE_USER: u64 = 4;
/// Large page, in an L2 entry.
pub const PTE_LARGE: u64 = 0x80;
/// Not executable.
pub const PTE_NX: u64 = 1 << 63;
/// A writable kernel page.
pub const PTE_DATA: u64 = 0x63;
/// A read-only kernel page.
pub const PTE_READ_ONLY: u64 = 0x21;
/// A page-table entry above L1.
pub const PTE_TABLE: u64 = 0x67;
/// The frame number's bits in an entry.
pub const PTE_FRAME: u64 = 0x000f_ffff_ffff_f000;

/// A page of the image that tests remap, hand over and write at will.
#[repr(C, align(4096))]
pub struct Page(UnsafeCell<[u8; 4096]>);
// SAFETY: the contents are reached through raw pointers and atomics alone.
unsafe impl Sync for Page {}

impl Page {
    /// A page of zeros.
    pub const fn new() -> Page {
        Page(UnsafeCell::new([0; 4096]))
    }

    /// Its virtual address.
    pub fn address(&self) -> u64 {
        self.0.get() as u64
    }

    /// The machine frame behind its address at start of day.
    pub fn mfn(&self) -> u64 {
        mfn_of(self.address())
    }

    /// Reads a word; the page must be mapped.
    pub fn read(&self, index: usize) -> u64 {
        // SAFETY: in bounds by the remainder, aligned; callers keep the page mapped.
        unsafe { (self.address() as *const u64).add(index % 512).read_volatile() }
    }

    /// Writes a word; the page must be mapped writable.
    pub fn write(&self, index: usize, value: u64) {
        // SAFETY: as for `read`.
        unsafe { (self.address() as *mut u64).add(index % 512).write_volatile(value) }
    }
}

impl Default for Page {
    fn default() -> Self {
        Page::new()
    }
}

unsafe extern "C" {
    /// The linker script's.
    static image_start: u8;
}

/// The first frame of the image.
pub(crate) fn image_start_pfn() -> u64 {
    (&raw const image_start as u64 - VIRT_BASE) >> 12
}

/// A fresh page of zeros, never given back.
pub fn take_page() -> &'static Page {
    let address = frames::take().expect("the guest's memory is used up");
    // SAFETY: a page of the linear mapping that nobody else has; `Page` is nothing but memory.
    unsafe { &*(address as *const Page) }
}

/// The machine frame of a guest frame.
pub fn mfn_of_pfn(pfn: u64) -> u64 {
    assert!(pfn < start_info().nr_pages);
    // SAFETY: the builder's list has `nr_pages` words and stays mapped.
    unsafe { (start_info().mfn_list as *const u64).add(pfn as usize).read_volatile() }
}

/// Records another machine frame behind a guest frame, as after an exchange of memory.
pub fn set_mfn_of_pfn(pfn: u64, mfn: u64) {
    assert!(pfn < start_info().nr_pages);
    // SAFETY: the builder's list has `nr_pages` words, mapped writable.
    unsafe {
        (start_info().mfn_list as *mut u64)
            .add(pfn as usize)
            .write_volatile(mfn)
    }
}

/// The machine frame behind an address in the linear mapping.
pub fn mfn_of(address: u64) -> u64 {
    mfn_of_pfn((address - VIRT_BASE) >> 12)
}

/// The guest frame of a machine frame, from the table in the hypervisor's hole.
pub fn pfn_of(mfn: u64) -> u64 {
    // SAFETY: readable for every frame that is RAM; callers pass frames of their own.
    unsafe { (MACH2PHYS_VIRT_START as *const u64).add(mfn as usize).read_volatile() }
}

/// The machine frame of the L4 table of start of day.
pub fn boot_root() -> u64 {
    mfn_of(start_info().pt_base)
}

/// Reads entry `index` of the table in `mfn`, which lies in the linear mapping.
pub fn read_entry(mfn: u64, index: u64) -> u64 {
    let table = VIRT_BASE + (pfn_of(mfn) << 12);
    // SAFETY: a page of the linear mapping, read as words; `index` is below 512 by the mask.
    unsafe { (table as *const u64).add((index & 511) as usize).read_volatile() }
}

/// Index of an address in the table of a level, 1 to 4.
pub fn index_at(address: u64, level: u32) -> u64 {
    address >> (12 + 9 * (level - 1)) & 511
}

/// The frame of the table of `level` that maps `address` under `root`; `None` where it is absent.
pub fn table_of(root: u64, address: u64, level: u32) -> Option<u64> {
    let mut table = root;
    for above in (level + 1..=4).rev() {
        let entry = read_entry(table, index_at(address, above));
        if entry & PTE_PRESENT == 0 {
            return None;
        }
        table = (entry & PTE_FRAME) >> 12;
    }
    Some(table)
}

/// Machine address of the entry of `level` for `address` under `root`.
pub fn entry_address(root: u64, address: u64, level: u32) -> Option<u64> {
    Some((table_of(root, address, level)? << 12) + index_at(address, level) * 8)
}

/// Whether an address is mapped under `root`.
pub fn is_mapped(root: u64, address: u64) -> bool {
    table_of(root, address, 1).is_some_and(|table| read_entry(table, index_at(address, 1)) & PTE_PRESENT != 0)
}

/// The frame of the table of `level` that maps `address`, made with pages from `fresh` where it is absent.
pub(crate) fn ensure_table(address: u64, level: u32, fresh: &mut dyn FnMut() -> Option<u64>) -> Option<u64> {
    let mut table = boot_root();
    for above in (level + 1..=4).rev() {
        let entry = read_entry(table, index_at(address, above));
        table = if entry & PTE_PRESENT != 0 {
            (entry & PTE_FRAME) >> 12
        } else {
            let page = fresh()?;
            // SAFETY: a page that nobody else has, mapped writable.
            unsafe { core::ptr::write_bytes(page as *mut u8, 0, 4096) };
            if !hang_table(table, address, above, page, PTE_TABLE) {
                return None;
            }
            mfn_of(page)
        };
    }
    Some(table)
}

/// Makes the page at `page` a page table, under the entry for `address` in the table `parent` of `level`.
pub(crate) fn hang_table(parent: u64, address: u64, level: u32, page: u64, bits: u64) -> bool {
    let mfn = mfn_of(page);
    map(page, mfn, PTE_READ_ONLY) == 0 && update((parent << 12) + index_at(address, level) * 8, mfn << 12 | bits) == 0
}

/// Makes one `mmu_update` request; the hypervisor's answer.
pub fn update(ptr: u64, val: u64) -> i64 {
    // SAFETY: tests change mappings of pages that only they use.
    unsafe { hypercall::mmu_update(&[mmu_update { ptr, val }], None) }
}

/// Makes one `mmuext_op` request; the hypervisor's answer.
pub fn extended(cmd: u32, arg1: u64, arg2: u64) -> i64 {
    // SAFETY: tests pin and flush, and switch to tables that map the image alike.
    unsafe {
        hypercall::mmuext_op(&[mmuext_op {
            cmd,
            _pad: 0,
            arg1,
            arg2,
        }])
    }
}

/// Maps a pool page's own frame again with other bits; the hypervisor's answer.
pub fn protect(page: &Page, bits: u64) -> i64 {
    map(page.address(), page.mfn(), bits)
}

/// Maps `mfn` at an address whose L1 table exists; the hypervisor's answer.
pub fn map(address: u64, mfn: u64, bits: u64) -> i64 {
    // SAFETY: tests pass addresses of pages that only they use.
    unsafe { hypercall::update_va_mapping(address, mfn << 12 | bits, UVMF_INVLPG | UVMF_ALL) }
}
