//! Machine memory at boot: early allocation, the final page tables, frame table and machine-to-physical table, and
//! the hand-over to the page allocator.

use super::info::{Info, Module};
use crate::arch::x86::segment;
use crate::mm::layout::{DIRECTMAP, DIRECTMAP_END, FRAME_TABLE, M2P_RO, M2P_RW, PAGE_SIZE};
use crate::mm::paging::{self, GUEST_READ, OutOfMemory};
use crate::mm::{alloc, directmap, frame, maddr_of};
use crate::sync::Mutex;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use xen_logic::e820::{Kind, Map};
use xen_logic::early_alloc::EarlyAlloc;

/// The boot page tables reach no further.
const BOOT_MAPPED: u64 = 4 << 30;
/// Low memory stays as it is: the trampoline's, and Dom0's BIOS area.
const LOW_END: u64 = 1 << 20;
/// Bytes of the machine-to-physical table that are contiguous in memory.
const M2P_EXTENT: u64 = 2 << 20;
/// Least free memory to start with.
const MIN_FREE: u64 = 32 << 20;

static EARLY: Mutex<EarlyAlloc> = Mutex::new(EarlyAlloc::new());
/// The page allocator has taken over.
static HANDED_OVER: AtomicBool = AtomicBool::new(false);

/// Takes zeroed memory: `len` bytes at a multiple of `align`, below `limit`.
fn take(len: u64, align: u64, limit: u64, fill: u8) -> Option<u64> {
    let at = EARLY.lock().take(len, align, limit)?;
    // SAFETY: free memory until now, and the limit keeps it within what is mapped.
    unsafe { directmap(at).write_bytes(fill, len as usize) };
    Some(at)
}

/// A zeroed page for the hypervisor's page tables and stacks: machine address.
pub fn new_table() -> Option<u64> {
    if HANDED_OVER.load(Relaxed) {
        return alloc::alloc_pages(0, Default::default()).map(|mfn| mfn.maddr());
    }
    take(PAGE_SIZE, PAGE_SIZE, u64::MAX, 0)
}

/// The ranges of RAM that the direct map covers, in whole pages.
fn ram(map: &Map) -> impl Iterator<Item = (u64, u64)> + '_ {
    let whole = |start: u64, end: u64| {
        (
            start.next_multiple_of(PAGE_SIZE),
            end.min(DIRECTMAP_END - DIRECTMAP) & !0xfff,
        )
    };
    map.ram()
        .map(move |r| whole(r.start, r.end))
        .filter(|(start, end)| start < end)
}

/// First frame number after all RAM.
fn frame_limit(map: &Map) -> u64 {
    ram(map).last().map_or(0, |(_, end)| end / PAGE_SIZE)
}

/// Builds the final page tables and switches to them; the early allocator then has all memory.
pub(super) fn init_tables(info: &Info) -> Result<(), OutOfMemory> {
    {
        let mut early = EARLY.lock();
        early.fill(&info.memory, LOW_END);
        let (start, end) = paging::image_range();
        early.reserve(start, end);
        for module in info.modules() {
            early.reserve(module.start, module.start + module.len);
        }
    }
    let mut new = || take(PAGE_SIZE, PAGE_SIZE, BOOT_MAPPED, 0);
    paging::init(ram(&info.memory), &mut new)?;
    paging::map_stacks(0, Some(super::boot_cpu_stack()), &mut new)?;
    // SAFETY: the tables map the image, this stack and the direct map as they were, with the rights that each needs.
    unsafe { segment::write_cr3(paging::idle_l4().maddr()) };
    Ok(())
}

/// Maps the frame table and the machine-to-physical table, and gives all free memory to the page allocator.
pub(super) fn init_frames(info: &Info) -> Result<(), OutOfMemory> {
    let limit = frame_limit(&info.memory);
    for (start, end) in ram(&info.memory) {
        let (first, last) = (start / PAGE_SIZE, end / PAGE_SIZE);
        let table = |mfn: u64| FRAME_TABLE + frame::table_bytes(mfn);
        let zeroed = &mut |size| take(size, size, u64::MAX, 0);
        paging::map_backing((table(first), table(last)), zeroed)?;
        // A frame that nobody has given a meaning to has the invalid entry, all ones.
        // In whole extents, which tools map by their first frames (`XENMEM_machphys_mfn_list`).
        let (start, end) = (
            first * 8 / M2P_EXTENT * M2P_EXTENT,
            (last * 8).next_multiple_of(M2P_EXTENT),
        );
        let ones = &mut |size, fill| take(size, size, u64::MAX, fill);
        paging::map_aliased((M2P_RW + start, M2P_RW + end), (M2P_RO + start, GUEST_READ), ones)?;
    }
    paging::map_zero_holes(FRAME_TABLE, FRAME_TABLE + frame::table_bytes(limit), &mut new_table)?;
    frame::init(limit);
    for (start, end) in ram(&info.memory) {
        frame::add_ram(start / PAGE_SIZE, end / PAGE_SIZE);
    }
    let early = &mut *EARLY.lock();
    log::info!(
        "memory: {} MiB free, {} KiB taken for tables",
        early.left() >> 20,
        early.taken() >> 10
    );
    HANDED_OVER.store(true, Relaxed);
    early.hand_over(|start, end| alloc::add_region(start / PAGE_SIZE, end / PAGE_SIZE));
    Ok(())
}

/// Is there too little memory to start with?
pub(super) fn is_too_small(info: &Info) -> bool {
    ram(&info.memory).map(|(start, end)| end - start).sum::<u64>() < MIN_FREE
}

/// Does the module lie in RAM below 4 GiB, above low memory and outside the image?
pub(super) fn is_sound(info: &Info, module: &Module) -> bool {
    let (start, end) = (module.start, module.start + module.len);
    let (image_start, image_end) = paging::image_range();
    let in_ram = start == end || info.memory.covers(start, end, Kind::RAM);
    in_ram && start >= LOW_END && (end <= image_start || start >= image_end)
}

/// A page of RAM below 1 MiB, above the BIOS's data, for the trampoline.
pub(super) fn low_page(info: &Info) -> Option<u64> {
    let page = |r: xen_logic::e820::Range| {
        (r.end.min(0x9_f000) & !0xfff)
            .checked_sub(PAGE_SIZE)
            .filter(|p| *p >= r.start)
    };
    info.memory.ram().filter_map(page).filter(|p| *p >= 0x1000).max()
}

/// Gives memory of the image or of modules to the page allocator: the whole pages in it.
pub(super) fn release(start: u64, end: u64) {
    alloc::add_region(start.div_ceil(PAGE_SIZE), end / PAGE_SIZE);
}

/// Gives back what only the first steps needed: boot page tables and boot stack.
pub(super) fn release_boot_tables() {
    unsafe extern "C" {
        static __boot_bss_start: u8;
        static __boot_bss_end: u8;
    }
    release(
        maddr_of(&raw const __boot_bss_start),
        maddr_of(&raw const __boot_bss_end),
    );
}
