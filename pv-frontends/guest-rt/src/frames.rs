//! The guest's memory: which frames are free, and the linear mapping, frame `n` at [`VIRT_BASE`] + `n` pages, that grows
//! over them as they are asked for. The domain builder maps the beginning; the rest is mapped 2 MiB at a time.
use crate::pages::{self, PTE_DATA, PTE_TABLE, VIRT_BASE};
use crate::start_info;
use core::ops::Range;
use spin::Mutex;
use xen_abi::*;

/// Frames of a page table's worth.
const SLOT: u64 = 512;
/// The linear mapping ends below the last slot of the address space.
const LINEAR_FRAMES: u64 = (1 << 19) - 2 * SLOT;
/// So many pages are always kept for page tables, of which one slot may need two.
const RESERVE: u64 = 8;
/// Runs of free frames that are told apart; what does not fit is kept as single pages.
const MAX_RUNS: usize = 64;

/// What is known of the guest's frames.
struct Memory {
    /// Free frames in the mapped part that follow each other.
    runs: [Range<u64>; MAX_RUNS],
    /// Address of the first page of the list of pages that were given back; each holds the address of the next.
    given_back: u64,
    /// How many there are.
    returned: u64,
    /// First frame that is not mapped.
    mapped: u64,
    ready: bool,
}

static MEMORY: Mutex<Memory> = Mutex::new(Memory::new());

/// Address of a frame in the linear mapping.
pub fn address_of(pfn: u64) -> u64 {
    VIRT_BASE + (pfn << 12)
}

/// The frame behind an address of the linear mapping.
pub fn pfn_at(address: u64) -> u64 {
    (address - VIRT_BASE) >> 12
}

/// A page of zeros, by its address; `None` where memory is used up.
pub fn take() -> Option<u64> {
    let mut memory = MEMORY.lock();
    memory.prepare();
    memory.top_up(1);
    memory.take_any().inspect(|&address| clear(address))
}

/// `count` pages of unknown content whose addresses (and frame numbers, but not machine frames) follow each other.
pub fn take_run(count: u64) -> Option<u64> {
    let mut memory = MEMORY.lock();
    memory.prepare();
    memory.top_up(count);
    memory.take_run(count).map(address_of)
}

/// Gives a page of [`take`] or [`take_run`] back.
///
/// # Safety
/// Nobody uses it any more, and its own frame is mapped there, writable.
pub unsafe fn give(address: u64) {
    let mut memory = MEMORY.lock();
    memory.push(address);
}

/// Gives the pages of one [`take_run`] back, or some that follow each other.
///
/// # Safety
/// As for [`give`].
pub unsafe fn give_run(address: u64, count: u64) {
    let mut memory = MEMORY.lock();
    let first = pfn_at(address);
    if count == 1 {
        memory.push(address);
    } else {
        memory.add(first..first + count);
    }
}

/// Free pages and all pages of the guest; what is not mapped yet counts as free.
pub fn counts() -> (u64, u64) {
    let mut memory = MEMORY.lock();
    memory.prepare();
    let unmapped = limit().saturating_sub(memory.mapped);
    (memory.free() + unmapped, start_info().nr_pages)
}

/// The boot modules or initial RAM disk that the builder left in memory, mapped; `None` without one.
pub fn initrd() -> Option<&'static [u8]> {
    let info = start_info();
    let length = info.mod_len as usize;
    if length == 0 {
        return None;
    }
    if info.flags & SIF_MOD_START_PFN == 0 {
        // SAFETY: mapped by the builder at this address, and nothing writes there.
        return Some(unsafe { core::slice::from_raw_parts(info.mod_start as *const u8, length) });
    }
    let end = info.mod_start + info.mod_len.div_ceil(4096);
    let mut memory = MEMORY.lock();
    memory.prepare();
    while memory.mapped < end {
        memory.grow()?;
    }
    // SAFETY: mapped now, and kept out of the free frames.
    Some(unsafe { core::slice::from_raw_parts(address_of(info.mod_start) as *const u8, length) })
}

fn limit() -> u64 {
    start_info().nr_pages.min(LINEAR_FRAMES)
}

/// Frames that hold the builder's list and the tables that map it: pages that cannot be mapped writable.
fn p2m_frames() -> Range<u64> {
    let info = start_info();
    info.first_p2m_pfn..info.first_p2m_pfn + info.nr_p2m_frames
}

/// Frames of the initial RAM disk where it is not in the initial mapping.
fn initrd_frames() -> Range<u64> {
    let info = start_info();
    if info.flags & SIF_MOD_START_PFN == 0 || info.mod_len == 0 {
        return 0..0;
    }
    info.mod_start..info.mod_start + info.mod_len.div_ceil(4096)
}

fn clear(address: u64) {
    // SAFETY: a page that the caller has just taken, mapped writable.
    unsafe { core::ptr::write_bytes(address as *mut u8, 0, 4096) };
}

impl Memory {
    const fn new() -> Memory {
        Memory {
            runs: [const { 0..0 }; MAX_RUNS],
            given_back: 0,
            returned: 0,
            mapped: 0,
            ready: false,
        }
    }

    /// Finds what the builder's mapping leaves free: below the image, and behind the page tables and the boot stack.
    fn prepare(&mut self) {
        if self.ready {
            return;
        }
        self.ready = true;
        let info = start_info();
        self.add(1..pages::image_start_pfn());
        // One page of boot stack follows; this image has its own stack.
        let used = pfn_at(info.pt_base) + info.nr_pt_frames + 1;
        let root = pages::boot_root();
        let mut end = used;
        while end < limit() && pages::is_mapped(root, address_of(end)) {
            end += 1;
        }
        self.add(used..end);
        self.mapped = end.next_multiple_of(SLOT);
    }

    fn free(&self) -> u64 {
        self.returned + self.runs.iter().map(|run| run.end - run.start).sum::<u64>()
    }

    /// Frees a run, together with those that it touches.
    fn add(&mut self, mut run: Range<u64>) {
        if run.is_empty() {
            return;
        }
        for other in self.runs.iter_mut().filter(|other| !other.is_empty()) {
            if other.end == run.start || other.start == run.end {
                run = run.start.min(other.start)..run.end.max(other.end);
                *other = 0..0;
            }
        }
        if let Some(slot) = self.runs.iter_mut().find(|slot| slot.is_empty()) {
            *slot = run;
        } else {
            run.for_each(|pfn| self.push(address_of(pfn)));
        }
    }

    fn push(&mut self, address: u64) {
        // SAFETY: a free page of the linear mapping; its first word holds the list while it is free.
        unsafe { (address as *mut u64).write(self.given_back) };
        self.given_back = address;
        self.returned += 1;
    }

    fn take_any(&mut self) -> Option<u64> {
        if self.given_back != 0 {
            let address = self.given_back;
            // SAFETY: a page of the list; see `push`.
            self.given_back = unsafe { (address as *const u64).read() };
            self.returned -= 1;
            return Some(address);
        }
        self.take_run(1).map(address_of)
    }

    fn take_run(&mut self, count: u64) -> Option<u64> {
        let fits = |run: &&mut Range<u64>| run.end - run.start >= count;
        let run = self
            .runs
            .iter_mut()
            .filter(fits)
            .min_by_key(|run| run.end - run.start)?;
        let first = run.start;
        run.start += count;
        Some(first)
    }

    /// Maps more until `count` pages in a row are free beside the reserve, or until there is no more.
    fn top_up(&mut self, count: u64) {
        let is_enough = |memory: &Memory| {
            let single = count == 1 && memory.returned > 0;
            let longest = memory.runs.iter().map(|run| run.end - run.start).max().unwrap_or(0);
            (single || longest >= count) && memory.free() >= count + RESERVE
        };
        while !is_enough(self) && self.grow().is_some() {}
    }

    /// Maps the next slot of frames.
    fn grow(&mut self) -> Option<()> {
        let slot = self.mapped..(self.mapped + SLOT).min(limit());
        if slot.is_empty() {
            return None;
        }
        let address = address_of(slot.start);
        let l2 = pages::ensure_table(address, 2, &mut || self.take_any())?;
        let table = self.take_any()?;
        clear(table);
        let p2m = p2m_frames();
        for pfn in slot.clone().filter(|pfn| !p2m.contains(pfn)) {
            let entry = pages::mfn_of_pfn(pfn) << 12 | PTE_DATA;
            // SAFETY: an entry of the fresh page, which is not a table yet.
            unsafe { (table as *mut u64).add((pfn % SLOT) as usize).write(entry) };
        }
        if !pages::hang_table(l2, address, 2, table, PTE_TABLE) {
            return None;
        }
        self.mapped = slot.start + SLOT;
        let initrd = initrd_frames();
        let mut from = slot.start;
        for pfn in slot.clone() {
            if p2m.contains(&pfn) || initrd.contains(&pfn) {
                self.add(from..pfn);
                from = pfn + 1;
            }
        }
        self.add(from..slot.end);
        Some(())
    }
}
