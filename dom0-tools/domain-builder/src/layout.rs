//! Where everything stands in a PV guest's first address space, computed before a frame is touched.
//!
//! Order of frames (`public/xen.h`, start of day): from frame 0 the kernel's range, the initrd if it is to be mapped,
//! the p2m table if the kernel does not say where it wants it, start_info, the rings of xenstore and console, page
//! tables, boot stack, padding of at least 512 KiB to a boundary of 4 MiB. All this is mapped from `virt_base` on.
//! Behind follow, not mapped there, the p2m table with the page tables that map it at `INIT_P2M`, then the initrd.

use core::fmt;
use core::ops::Range;

const PAGE: u64 = 4096;
const PADDING: u64 = 512 << 10;
const BOUNDARY: u64 = 4 << 20;
/// Bytes that one table of level 1, 2, 3 maps.
const SPANS: [u64; 3] = [2 << 20, 1 << 30, 512 << 30];
/// End of the lower half of addresses.
const LOW_END: u64 = 1 << 47;
/// First address behind the hypervisor's hole.
const HOLE_END: u64 = xen_abi::HYPERVISOR_VIRT_END;
/// Most frames of a domain; keeps sums far from overflowing.
const MOST_PAGES: u64 = 1 << 40;

/// What kernel and memory size ask for.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Virtual address of frame 0.
    pub virt_base: u64,
    /// First frame behind the kernel.
    pub kernel_end: u64,
    /// Where the kernel wants its p2m table.
    pub init_p2m: Option<u64>,
    /// The kernel finds its initrd by frame number.
    pub mod_start_pfn: bool,
    /// Bytes of the initrd; 0 without one.
    pub initrd_len: u64,
    /// Frames of the domain.
    pub pages: u64,
}

/// Why there is no layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LayoutError {
    /// The kernel wants to stand where the hypervisor is, or past the end of addresses.
    VirtBase(u64),
    /// The address for the p2m table is no good.
    InitP2m(u64),
    /// More memory is needed than the domain has; in pages.
    TooSmall {
        /// What kernel, initrd and tables take.
        needed: u64,
        /// What the domain has.
        given: u64,
    },
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |pages: &u64| pages.div_ceil(256);
        match self {
            Self::VirtBase(base) => write!(
                f,
                "the kernel's VIRT_BASE {base:#x} leaves it no room below the hypervisor, or is no multiple of 4 MiB"
            ),
            Self::InitP2m(va) => write!(f, "the kernel's INIT_P2M {va:#x} is no usable address"),
            Self::TooSmall { needed, given } => write!(
                f,
                "too little memory: kernel, initrd and tables take {} MiB, the guest has {} MiB; give it more than twice \
                 that, so that it has room to run",
                mib(needed),
                mib(given)
            ),
        }
    }
}

/// A run of frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Frames {
    /// The first.
    pub pfn: u64,
    /// How many.
    pub count: u64,
}

impl Frames {
    /// The first behind it.
    pub fn end(self) -> u64 {
        self.pfn + self.count
    }

    /// Its frames.
    pub fn range(self) -> Range<u64> {
        self.pfn..self.end()
    }
}

/// The layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Virtual address of frame 0.
    pub virt_base: u64,
    /// Frames that are mapped from there on.
    pub mapped: u64,
    /// The initrd; none of a guest without one.
    pub initrd: Frames,
    /// start_info.
    pub start_info: u64,
    /// The ring of xenstore.
    pub store: u64,
    /// The ring of the console.
    pub console: u64,
    /// Page tables of the mapped range, the root first.
    pub tables: Frames,
    /// The boot stack.
    pub stack: u64,
    /// The p2m table.
    pub p2m: Frames,
    /// Its virtual address.
    pub p2m_va: u64,
    /// Page tables that map the p2m table elsewhere, directly behind it; none where it is in the mapped range.
    pub p2m_tables: Frames,
    /// First frame that is nothing in particular.
    pub first_free: u64,
}

impl Layout {
    /// Virtual address of a frame in the mapped range.
    pub fn va(&self, pfn: u64) -> u64 {
        self.virt_base.wrapping_add(pfn * PAGE)
    }

    /// Is the frame a page table?
    pub fn is_table(&self, pfn: u64) -> bool {
        self.tables.range().contains(&pfn) || self.p2m_tables.range().contains(&pfn)
    }

    /// Computes the layout.
    ///
    /// # Errors
    /// What makes one impossible.
    pub fn compute(ask: &Request) -> Result<Self, LayoutError> {
        let given = ask.pages;
        let p2m_pages = given.min(MOST_PAGES).div_ceil(PAGE / 8);
        let initrd_pages = ask.initrd_len.div_ceil(PAGE);
        let rough = ask.kernel_end.saturating_add(initrd_pages).saturating_add(p2m_pages);
        if given > MOST_PAGES || rough > given {
            return Err(LayoutError::TooSmall { needed: rough, given });
        }

        let mut next = ask.kernel_end;
        let initrd_first = if ask.mod_start_pfn { 0 } else { initrd_pages };
        let mut initrd = take(&mut next, initrd_first);
        let p2m_first = if ask.init_p2m.is_some() { 0 } else { p2m_pages };
        let mut p2m = take(&mut next, p2m_first);
        let start_info = take(&mut next, 1).pfn;
        let store = take(&mut next, 1).pfn;
        let console = take(&mut next, 1).pfn;
        let (mapped, count) = map_range(ask.virt_base, next)?;
        let tables = take(&mut next, 1 + count);
        let stack = take(&mut next, 1).pfn;

        next = mapped;
        let mut p2m_va = ask.virt_base.wrapping_add(p2m.pfn * PAGE);
        let mut p2m_tables = Frames::default();
        if let Some(va) = ask.init_p2m {
            p2m_va = va;
            p2m = take(&mut next, p2m_pages);
            p2m_tables = take(&mut next, check_p2m(va, p2m_pages, ask.virt_base, mapped)?);
        }
        if ask.mod_start_pfn {
            initrd = take(&mut next, initrd_pages);
        }
        if next > given {
            return Err(LayoutError::TooSmall { needed: next, given });
        }
        Ok(Self {
            virt_base: ask.virt_base,
            mapped,
            initrd,
            start_info,
            store,
            console,
            tables,
            stack,
            p2m,
            p2m_va,
            p2m_tables,
            first_free: next,
        })
    }
}

fn take(next: &mut u64, count: u64) -> Frames {
    let frames = Frames { pfn: *next, count };
    *next += count;
    frames
}

/// Tables of levels 1 to 3 that map `start..end`, which is not empty; their sum, and those of level 3 alone.
fn count_tables(start: u64, end: u64) -> (u64, u64) {
    let touched = SPANS.map(|span| (end - 1) / span - start / span + 1);
    (touched.iter().sum(), touched[2])
}

/// Frames to map and tables for that, with `used` frames before the tables. More tables may push the end over a
/// boundary, which asks for more tables: repeated until it holds.
fn map_range(base: u64, used: u64) -> Result<(u64, u64), LayoutError> {
    let error = LayoutError::VirtBase(base);
    let mut count = 3;
    loop {
        let bytes = (used + 1 + count + 1).checked_mul(PAGE).ok_or(error)?;
        let end = base
            .checked_add(bytes)
            .and_then(|end| end.checked_add(PADDING))
            .ok_or(error)?;
        let end = end.checked_next_multiple_of(BOUNDARY).ok_or(error)?;
        if !(end <= LOW_END || base >= HOLE_END) || !base.is_multiple_of(BOUNDARY) {
            return Err(error);
        }
        let (needed, roots) = count_tables(base, end);
        // One entry of the root is enough for any kernel, and keeps its tables apart from those of the p2m table.
        if roots != 1 {
            return Err(error);
        }
        if needed <= count {
            return Ok(((end - base) / PAGE, needed));
        }
        count = needed;
    }
}

/// How many tables map the p2m table at `va`, which must be outside of the hole and of the root's entry of the kernel.
fn check_p2m(va: u64, pages: u64, base: u64, mapped: u64) -> Result<u64, LayoutError> {
    let error = LayoutError::InitP2m(va);
    let end = va.checked_add(pages * PAGE).ok_or(error)?;
    let slot = |va: u64| va / SPANS[2];
    let is_apart = slot(end - 1) < slot(base) || slot(va) > slot(base + (mapped - 1) * PAGE);
    if !va.is_multiple_of(PAGE) || !(end <= LOW_END || va >= HOLE_END) || !is_apart {
        return Err(error);
    }
    Ok(count_tables(va, end).0)
}
