//! The global allocator: small blocks in size classes cut from pages, large ones straight from the page allocator.
//!
//! A page whose blocks have all come back is given back, but for one of each class; the rules are `xen_logic::slab`'s.

use super::alloc::{FrameTable, alloc_pages, free_pages};
use super::layout::PAGE_SIZE;
use super::{Mfn, directmap, flush, frame, maddr_of};
use crate::sync::Mutex;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::null_mut;
use xen_logic::page_list::Links;
use xen_logic::slab::{Free, Pages, Slab};

/// Sizes of small blocks; each is a multiple of 16 and aligned to its largest power of two.
const CLASSES: [usize; 15] = [16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1360, 2048, 4096];

struct Heap {
    classes: [Mutex<Slab>; CLASSES.len()],
}

#[global_allocator]
static HEAP: Heap = Heap { classes: empty() };

const fn empty() -> [Mutex<Slab>; CLASSES.len()] {
    let mut classes = [const { Mutex::new(Slab::new(1)) }; CLASSES.len()];
    let mut class = 0;
    while class < CLASSES.len() {
        classes[class] = Mutex::new(Slab::new((PAGE_SIZE as usize / CLASSES[class]) as u16));
        class += 1;
    }
    classes
}

/// The smallest class that holds `layout`, if it is small.
fn class_of(layout: Layout) -> Option<usize> {
    let fits = |size: usize| size >= layout.size() && (size & size.wrapping_neg()) >= layout.align();
    CLASSES.iter().position(|size| fits(*size))
}

fn order_of(layout: Layout) -> u32 {
    let size = layout.size().max(layout.align()).max(PAGE_SIZE as usize);
    (size.next_power_of_two() / PAGE_SIZE as usize).trailing_zeros()
}

/// The slots of one class, of this many bytes.
///
/// No translation of a guest's leads to the heap's pages, and the flush that may have been due was done when they were
/// taken: so the place of a frame's stamp is free while the heap has it, and tells what is free in it.
struct Slots(usize);

impl Slots {
    fn address(&self, page: u32, slot: u16) -> *mut u8 {
        directmap(Mfn(page.into()).maddr()).wrapping_add(usize::from(slot) * self.0)
    }
}

impl Links for Slots {
    fn links(&self, page: u32) -> (u32, u32) {
        FrameTable.links(page)
    }

    fn set_links(&mut self, page: u32, links: (u32, u32)) {
        FrameTable.set_links(page, links);
    }
}

impl Pages for Slots {
    fn free(&self, page: u32) -> Free {
        let both = frame::entry(Mfn(page.into())).epoch();
        Free {
            first: both as u16,
            count: (both >> 16) as u16,
        }
    }

    fn set_free(&mut self, page: u32, free: Free) {
        let both = u32::from(free.first) | u32::from(free.count) << 16;
        frame::entry(Mfn(page.into())).set_epoch(both);
    }

    fn next(&self, page: u32, slot: u16) -> u16 {
        // SAFETY: a free slot of the heap's own page, which nobody else writes: its first word is the chain's.
        unsafe { self.address(page, slot).cast::<u16>().read() }
    }

    fn set_next(&mut self, page: u32, slot: u16, next: u16) {
        // SAFETY: as in `next`; `dealloc`'s caller has given it away.
        unsafe { self.address(page, slot).cast::<u16>().write(next) };
    }
}

/// Takes a block of a class.
fn take(class: usize) -> Option<*mut u8> {
    let mut slots = Slots(CLASSES[class]);
    let slab = &HEAP.classes[class];
    let found = slab.lock().take(&mut slots);
    let (page, slot) = match found {
        Some(found) => found,
        None => {
            // The class's lock is not held over the page allocator's.
            let page = alloc_pages(0, Default::default())?.0 as u32;
            let mut slab = slab.lock();
            slab.add(&mut slots, page);
            slab.take(&mut slots)?
        }
    };
    Some(slots.address(page, slot))
}

/// Gives a block of a class back.
fn put(class: usize, block: *mut u8) {
    let mut slots = Slots(CLASSES[class]);
    let at = maddr_of(block);
    let slot = (at % PAGE_SIZE) as usize / slots.0;
    let page = HEAP.classes[class]
        .lock()
        .put(&mut slots, (at / PAGE_SIZE) as u32, slot as u16);
    if let Some(page) = page {
        let page = Mfn(page.into());
        frame::entry(page).set_epoch(flush::never());
        free_pages(page, 0);
    }
}

// SAFETY: a slot is handed out once until it is put back: a class's lock covers its pages, and whole pages are the page
// allocator's.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let block = match class_of(layout) {
            Some(class) => take(class),
            None => alloc_pages(order_of(layout), Default::default()).map(|mfn| directmap(mfn.maddr())),
        };
        block.unwrap_or(null_mut())
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match class_of(layout) {
            Some(class) => put(class, block),
            None => free_pages(Mfn(maddr_of(block) >> 12), order_of(layout)),
        }
    }
}
