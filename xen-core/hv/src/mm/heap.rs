//! The global allocator: small blocks in size classes cut from pages, large ones straight from the page allocator.
//!
//! Freed small blocks go to their class's list and stay there: the hypervisor's objects are few and live long.

use super::alloc::{alloc_pages, free_pages};
use super::layout::PAGE_SIZE;
use super::{Mfn, directmap, maddr_of};
use crate::sync::Mutex;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::null_mut;

/// Sizes of small blocks; each is a multiple of 16 and aligned to its largest power of two.
const CLASSES: [usize; 15] = [16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1360, 2048, 4096];

/// A free block: its first word leads to the next one.
struct FreeList(*mut u8);

// SAFETY: the blocks belong to the list, which is behind a lock.
unsafe impl Send for FreeList {}

struct Heap {
    classes: [Mutex<FreeList>; CLASSES.len()],
}

#[global_allocator]
static HEAP: Heap = Heap {
    classes: [const { Mutex::new(FreeList(null_mut())) }; CLASSES.len()],
};

/// The smallest class that holds `layout`, if it is small.
fn class_of(layout: Layout) -> Option<usize> {
    let fits = |size: usize| size >= layout.size() && (size & size.wrapping_neg()) >= layout.align();
    CLASSES.iter().position(|size| fits(*size))
}

fn order_of(layout: Layout) -> u32 {
    let size = layout.size().max(layout.align()).max(PAGE_SIZE as usize);
    (size.next_power_of_two() / PAGE_SIZE as usize).trailing_zeros()
}

fn new_pages(order: u32) -> *mut u8 {
    alloc_pages(order, Default::default()).map_or(null_mut(), |mfn| directmap(mfn.0 << 12))
}

impl FreeList {
    fn pop(&mut self) -> Option<*mut u8> {
        if self.0.is_null() {
            return None;
        }
        let block = self.0;
        // SAFETY: a block of the list, whose first word is the list's.
        self.0 = unsafe { block.cast::<*mut u8>().read() };
        Some(block)
    }

    /// # Safety
    /// `block` is a block of this list's class that nobody uses.
    unsafe fn push(&mut self, block: *mut u8) {
        // SAFETY: the caller gives the block away.
        unsafe { block.cast::<*mut u8>().write(self.0) };
        self.0 = block;
    }
}

// SAFETY: blocks are handed out once until they are freed: a class's lock covers its list, and whole pages are the
// page allocator's.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class_of(layout) else {
            return new_pages(order_of(layout));
        };
        if let Some(block) = self.classes[class].lock().pop() {
            return block;
        }
        // The list's lock is not held over the page allocator's.
        let page = new_pages(0);
        if !page.is_null() {
            let size = CLASSES[class];
            let mut list = self.classes[class].lock();
            for at in (size..=PAGE_SIZE as usize - size).step_by(size) {
                // SAFETY: a part of the new page, aligned to the class.
                unsafe { list.push(page.add(at)) };
            }
        }
        page
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match class_of(layout) {
            // SAFETY: the caller gives back a block that `alloc` made for this layout.
            Some(class) => unsafe { self.classes[class].lock().push(block) },
            None => free_pages(Mfn(maddr_of(block) >> 12), order_of(layout)),
        }
    }
}
