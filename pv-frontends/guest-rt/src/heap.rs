//! The heap: an allocator over runs of pages that it claims as it needs them.
use crate::frames;
use core::alloc::Layout;
use talc::TalcLock;
use talc::base::Talc;
use talc::base::binning::Binning;
use talc::source::Source;

/// The heap grows by so many pages at least.
const STEP: u64 = 64;

/// Where the heap's memory comes from: the guest's free pages.
#[derive(Debug)]
struct Pages;

// SAFETY: it takes pages, which does not use the heap.
unsafe impl Source for Pages {
    fn acquire<B: Binning>(talc: &mut Talc<Self, B>, layout: Layout) -> Result<(), ()> {
        // Room for the allocation, its alignment and the allocator's own lists.
        let bytes = layout.size() + layout.align() + 8192;
        let wanted = (bytes as u64).div_ceil(4096);
        for pages in [wanted.max(STEP), wanted] {
            let Some(address) = frames::take_run(pages) else {
                continue;
            };
            // SAFETY: the pages are mapped writable and nobody else's, and they are never given back.
            if unsafe { talc.claim(address as *mut u8, pages as usize * 4096) }.is_some() {
                return Ok(());
            }
        }
        Err(())
    }
}

#[global_allocator]
static HEAP: TalcLock<spin::Mutex<()>, Pages> = TalcLock::new(Pages);
