//! The hypervisor's own page tables: direct map, image, stacks, frame table, machine-to-physical table, device memory.
//!
//! Made once at boot; afterwards only device mappings are added. Every L4 table of a guest has the same 16 slots of
//! the hole, but for its domain's own one, so what is added below them is seen everywhere.

use super::layout::*;
use super::{Mfn, directmap};
use crate::arch::x86::cpu;
use crate::domain::Domain;
use crate::sync::Mutex;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bits of a page-table entry.
pub mod bit {
    #![allow(missing_docs)]
    pub const PRESENT: u64 = 1;
    pub const WRITABLE: u64 = 1 << 1;
    pub const USER: u64 = 1 << 2;
    pub const WRITE_THROUGH: u64 = 1 << 3;
    pub const CACHE_DISABLE: u64 = 1 << 4;
    pub const ACCESSED: u64 = 1 << 5;
    pub const DIRTY: u64 = 1 << 6;
    pub const LARGE: u64 = 1 << 7;
    pub const GLOBAL: u64 = 1 << 8;
    pub const NO_EXECUTE: u64 = 1 << 63;
    /// The address in an entry.
    pub const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
}
use bit::*;

const BASE: u64 = PRESENT | ACCESSED;
/// Read-only data of the hypervisor.
pub const READ: u64 = BASE | DIRTY | GLOBAL | NO_EXECUTE;
/// Data of the hypervisor.
pub const WRITE: u64 = READ | WRITABLE;
/// Code of the hypervisor.
pub const EXECUTE: u64 = BASE | DIRTY | GLOBAL;
/// Guests may read it.
pub const GUEST_READ: u64 = BASE | DIRTY | USER | NO_EXECUTE;
const TABLE: u64 = BASE | DIRTY | WRITABLE;

/// How device memory is cached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cache {
    /// Registers.
    Uncached,
    /// Memory.
    WriteBack,
}

static IDLE_L4: AtomicU64 = AtomicU64::new(0);

/// The L4 table with nothing but the hypervisor in it.
pub fn idle_l4() -> Mfn {
    Mfn(IDLE_L4.load(Relaxed) >> 12)
}

/// Where new tables come from: one zeroed page's machine address.
pub type NewTable<'a> = &'a mut dyn FnMut() -> Option<u64>;

/// No page for a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory;

fn entry(table: u64, index: u64) -> *mut u64 {
    directmap(table).cast::<u64>().wrapping_add(index as usize & 511)
}

/// The table that `slot` points to, made if there is none. The slot is one of a table of ours.
fn descend(slot: *mut u64, flags: u64, new: NewTable) -> Result<u64, OutOfMemory> {
    // SAFETY: the slot is in a hypervisor table in the direct map; tables are changed by one CPU at a time (at boot,
    // or under the lock of the device mappings).
    unsafe {
        if slot.read() & PRESENT == 0 {
            slot.write(new().ok_or(OutOfMemory)? | TABLE | flags & USER);
        }
        debug_assert!(slot.read() & LARGE == 0);
        Ok(slot.read() & ADDRESS)
    }
}

/// Maps `len` bytes at `va` to machine address `ma`, with the largest pages that fit, up to `1 << max_shift` bytes.
/// All three are multiples of a page, and nothing is mapped there yet.
pub fn map(l4: u64, va: u64, ma: u64, len: u64, flags: u64, max_shift: u32, new: NewTable) -> Result<(), OutOfMemory> {
    let mut done = 0;
    while done < len {
        let (va, ma) = (va + done, ma + done);
        let fits = |shift: u32| shift <= max_shift && (va | ma) & ((1 << shift) - 1) == 0 && len - done >= 1 << shift;
        let shift = [30, 21].into_iter().find(|s| fits(*s)).unwrap_or(12);
        let mut table = l4;
        for level in [39, 30, 21].into_iter().filter(|l| *l > shift) {
            table = descend(entry(table, va >> level), flags, new)?;
        }
        let large = if shift == 12 { 0 } else { LARGE };
        // SAFETY: as in `descend`; the entry is not in use.
        unsafe { entry(table, va >> shift).write(ma | flags | large) };
        done += 1 << shift;
    }
    Ok(())
}

/// The image's parts by link address: first byte, first byte after it, rights.
fn image_parts() -> [(u64, u64, u64); 4] {
    unsafe extern "C" {
        static __image_start: u8;
        static __text_end: u8;
        static __rodata_end: u8;
        static __data_end: u8;
        static __ksyms: u8;
    }
    let at = |symbol: *const u8| symbol as u64;
    let ksyms = at(&raw const __ksyms);
    [
        (at(&raw const __image_start), at(&raw const __text_end), EXECUTE),
        (at(&raw const __text_end), at(&raw const __rodata_end), READ),
        (at(&raw const __rodata_end), at(&raw const __data_end), WRITE),
        (ksyms, ksyms + crate::console::symbols::table_len(), READ),
    ]
}

/// The machine addresses of the image, symbol table included.
pub fn image_range() -> (u64, u64) {
    let parts = image_parts();
    (
        image_maddr(parts[0].0),
        image_maddr(parts[3].1.next_multiple_of(PAGE_SIZE)),
    )
}

/// The machine address of something in the image; the linker script gives the distance.
pub fn image_maddr(va: u64) -> u64 {
    va - IMAGE + IMAGE_LOAD
}

/// Machine address at which loaders put the image.
pub const IMAGE_LOAD: u64 = 0x20_0000;

const fn page_down(addr: u64) -> u64 {
    addr & !(PAGE_SIZE - 1)
}

/// Builds the idle table with the direct map of `ram` and the image, and loads it.
///
/// The image's text and read-only data are read-only in the direct map too.
///
/// # Errors
/// `new` ran out of pages.
pub fn init(ram: impl Iterator<Item = (u64, u64)>, new: NewTable) -> Result<(), OutOfMemory> {
    let l4 = new().ok_or(OutOfMemory)?;
    let large = if cpu::has_gib_pages() { 30 } else { 21 };
    let (image_start, image_end) = image_range();
    for (start, end) in ram {
        // Cut into what lies before, in and after the image.
        let cuts = [start, image_start.clamp(start, end), image_end.clamp(start, end), end];
        map(l4, DIRECTMAP + cuts[0], cuts[0], cuts[1] - cuts[0], WRITE, large, new)?;
        map(l4, DIRECTMAP + cuts[2], cuts[2], cuts[3] - cuts[2], WRITE, large, new)?;
    }
    for (start, end, flags) in image_parts() {
        let (start, end) = (page_down(start), end.next_multiple_of(PAGE_SIZE));
        let ma = image_maddr(start);
        map(l4, start, ma, end - start, flags, 12, new)?;
        map(l4, DIRECTMAP + ma, ma, end - start, flags | NO_EXECUTE, 12, new)?;
    }
    // The device mappings' L3 table is the image's and the stacks' as well, so slot 261 is never added to later.
    IDLE_L4.store(l4, Relaxed);
    Ok(())
}

/// Maps the stack area of CPU `cpu`; its guard pages stay unmapped. The pages of `main`, if given, are its main
/// stack's; all others are new.
///
/// # Errors
/// `new` ran out of pages.
pub fn map_stacks(cpu: usize, main: Option<u64>, new: NewTable) -> Result<(), OutOfMemory> {
    use crate::arch::x86::percpu::{STACK_PAGES, stack_area};
    let last = STACK_PAGES.len() - 1;
    for (i, (first, count)) in STACK_PAGES.into_iter().enumerate() {
        for page in 0..count {
            let ma = match main {
                Some(main) if i == last => main + page * PAGE_SIZE,
                _ => new().ok_or(OutOfMemory)?,
            };
            map(
                IDLE_L4.load(Relaxed),
                stack_area(cpu) + (first + page) * PAGE_SIZE,
                ma,
                PAGE_SIZE,
                WRITE,
                12,
                new,
            )?;
        }
    }
    Ok(())
}

/// Maps memory from `pages` (length and alignment to machine address) from `start` to `end`: 2 MiB pages where whole
/// ones are needed, otherwise small ones. Pages mapped already stay.
///
/// # Errors
/// No memory.
pub fn map_backing((start, end): (u64, u64), pages: &mut dyn FnMut(u64) -> Option<u64>) -> Result<(), OutOfMemory> {
    map_aliased((start, end), (start, WRITE), &mut |size, _| pages(size))
}

/// Like [`map_backing`], with the same memory at `alias` as well, there with the given rights. `pages` also takes the
/// byte that the memory is filled with: ones for what is mapped twice, zeros for tables.
///
/// # Errors
/// No memory.
pub fn map_aliased(
    (start, end): (u64, u64),
    (alias, rights): (u64, u64),
    pages: &mut dyn FnMut(u64, u8) -> Option<u64>,
) -> Result<(), OutOfMemory> {
    const LARGE_PAGE: u64 = 2 << 20;
    let l4 = IDLE_L4.load(Relaxed);
    let (mut at, distance) = (page_down(start), page_down(alias).wrapping_sub(page_down(start)));
    while at < end {
        let mut size = if at.is_multiple_of(LARGE_PAGE) && end - at >= LARGE_PAGE {
            LARGE_PAGE
        } else {
            PAGE_SIZE
        };
        if is_mapped(l4, at) {
            // The last page of the range before is the first of this one.
            size = PAGE_SIZE;
        } else {
            let ma = pages(size, 0xff).ok_or(OutOfMemory)?;
            let mut new = || pages(PAGE_SIZE, 0);
            map(l4, at, ma, size, WRITE, 21, &mut new)?;
            if distance != 0 {
                map(l4, at.wrapping_add(distance), ma, size, rights, 21, &mut new)?;
            }
        }
        at += size;
    }
    Ok(())
}

/// Maps one zeroed page, read-only, wherever nothing is mapped from `start` to `end`: a frame table's holes.
/// Whole 2 MiB share one table.
///
/// # Errors
/// No memory.
pub fn map_zero_holes(start: u64, end: u64, new: NewTable) -> Result<(), OutOfMemory> {
    let l4 = IDLE_L4.load(Relaxed);
    let zero = new().ok_or(OutOfMemory)?;
    let shared = new().ok_or(OutOfMemory)?;
    for i in 0..512 {
        // SAFETY: a new page, used as a table only.
        unsafe { entry(shared, i).write(zero | READ) };
    }
    let mut at = page_down(start);
    while at < end {
        let l3 = descend(entry(l4, at >> 39), 0, new)?;
        let l2 = entry(descend(entry(l3, at >> 30), 0, new)?, at >> 21);
        // SAFETY: as in `descend`.
        if unsafe { l2.read() } & PRESENT == 0 && at.is_multiple_of(2 << 20) {
            // SAFETY: as above. Nothing is added to the shared table later: all its entries are present.
            unsafe { l2.write(shared | TABLE) };
        }
        // SAFETY: as above.
        if unsafe { l2.read() } & LARGE != 0 || unsafe { l2.read() } & ADDRESS == shared {
            at += 2 << 20;
            continue;
        }
        if !is_mapped(l4, at) {
            map(l4, at, zero, PAGE_SIZE, READ, 12, new)?;
        }
        at += PAGE_SIZE;
    }
    Ok(())
}

/// Is there a mapping at `va`?
fn is_mapped(l4: u64, va: u64) -> bool {
    let mut table = l4;
    for level in [39, 30, 21, 12] {
        // SAFETY: as in `descend`.
        let e = unsafe { entry(table, va >> level).read() };
        if e & PRESENT == 0 {
            return false;
        }
        if e & LARGE != 0 {
            return true;
        }
        table = e & ADDRESS;
    }
    true
}

/// Fills the hole's slots of a guest's L4 table: the hypervisor's, and the domain's own one.
///
/// # Safety
/// `l4` is a page in the direct map that is, or becomes, an L4 table of `domain`; the slots are written by nobody else.
pub unsafe fn fill_guest_l4(l4: *mut u64, domain: &Domain) {
    let idle = entry(IDLE_L4.load(Relaxed), 0);
    for slot in HOLE_FIRST_SLOT..=HOLE_LAST_SLOT {
        // SAFETY: the caller vouches for `l4`; the idle table's slots do not change after boot.
        unsafe {
            let value = match slot {
                PERDOMAIN_SLOT => domain.perdomain.l4_entry(),
                _ => idle.add(slot).read(),
            };
            core::sync::atomic::AtomicU64::from_ptr(l4.add(slot)).store(value, Relaxed);
        }
    }
}

/// The L4 entry that shows a guest kernel the machine-to-physical table.
#[inline]
pub fn m2p_entry() -> u64 {
    // SAFETY: the idle table's slots do not change after boot.
    unsafe { entry(IDLE_L4.load(Relaxed), 0).add(HOLE_FIRST_SLOT).read() }
}

/// First address not handed out for device memory, once there is a table.
static NEXT_VMAP: Mutex<u64> = Mutex::new(VMAP);

/// Maps `len` bytes of device memory or of the firmware's tables at machine address `maddr`.
///
/// Panics if memory or addresses run out, which only hardware could bring about: what guests ask for is not mapped
/// here.
pub fn map_vmap(maddr: u64, len: usize, cache: Cache) -> *mut u8 {
    let offset = maddr % PAGE_SIZE;
    let size = (offset + len as u64).next_multiple_of(PAGE_SIZE);
    let flags = match cache {
        Cache::Uncached => WRITE & !GLOBAL | CACHE_DISABLE | WRITE_THROUGH,
        Cache::WriteBack => WRITE & !GLOBAL,
    };
    let mut next = NEXT_VMAP.lock();
    let va = *next;
    assert!(size <= VMAP_END - va, "no room for device mappings");
    // A page stays unmapped between two mappings.
    *next = va + size + PAGE_SIZE;
    map(
        IDLE_L4.load(Relaxed),
        va,
        maddr - offset,
        size,
        flags,
        12,
        &mut crate::boot::new_table,
    )
    .expect("no memory for a device mapping");
    (va + offset) as *mut u8
}

/// Takes a mapping by [`map_vmap`] away, for good: its addresses are not used again, so that other CPUs, whose TLBs
/// may remember it, need not be told.
///
/// # Safety
/// Nobody uses the mapping any more.
pub unsafe fn unmap_vmap(ptr: *mut u8, len: usize) {
    let (start, end) = (page_down(ptr as u64), ptr as u64 + len as u64);
    let _lock = NEXT_VMAP.lock();
    for va in (start..end).step_by(PAGE_SIZE as usize) {
        let mut table = IDLE_L4.load(Relaxed);
        for level in [39, 30, 21] {
            // SAFETY: `map_vmap` made these tables.
            table = unsafe { entry(table, va >> level).read() } & ADDRESS;
        }
        // SAFETY: the caller vouches that the mapping is not in use.
        unsafe { entry(table, va >> 12).write(0) };
        cpu::invlpg(va);
    }
}
