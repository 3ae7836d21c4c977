//! Where everything stands in a PV kernel's first address space, computed before a frame is touched.
//!
//! Order of pseudo-physical frames (`public/xen.h`, start of day): from frame 0 the kernel's range, the initrd if
//! it is mapped, the p2m table if the kernel does not say where it wants it, start_info, page tables, boot stack,
//! padding to a 4 MiB boundary. Everything to here is mapped from `virt_base` on. Behind follow, unmapped, the p2m
//! table with its own page tables (mapped at `INIT_P2M` instead), then the initrd.

use core::fmt;

const PAGE: u64 = 4096;
const SUPERPAGE: u64 = 4 << 20;
const PADDING: u64 = 512 << 10;
/// Bytes that one entry of an L2, L3, L4 table maps.
const SPANS: [u64; 3] = [2 << 20, 1 << 30, 512 << 30];
/// First address behind the hypervisor's hole (`arch-x86/xen-x86_64.h`), and so the guest's upper range.
const HOLE_END: u64 = 0xffff_8800_0000_0000;

/// What the kernel and the memory size ask for.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Virtual address of pseudo-physical frame 0.
    pub virt_base: u64,
    /// First byte after the kernel's last segment, as a virtual address.
    pub kernel_end: u64,
    /// Where the kernel wants its p2m table.
    pub init_p2m: Option<u64>,
    /// The kernel finds its initrd by frame number.
    pub mod_start_pfn: bool,
    /// Bytes of the initrd; 0 without one.
    pub initrd_len: u64,
    /// Frames of the domain.
    pub nr_pages: u64,
}

/// Why there is no layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LayoutError {
    /// The kernel wants to stand where the hypervisor is, or over the end of the address space.
    BadVirtBase,
    /// The address for the p2m table cannot be used.
    BadInitP2m,
    /// More memory is needed than the domain has, in pages: needed, given, and how many of those needed are initrd.
    TooSmall {
        /// Pages that kernel, initrd and tables need.
        needed: u64,
        /// Pages that the domain has.
        given: u64,
        /// Pages of the initrd among `needed`.
        initrd: u64,
    },
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |pages: &u64| pages.div_ceil(256);
        match self {
            LayoutError::BadVirtBase => write!(f, "kernel's VIRT_BASE leaves no room for it below the hypervisor"),
            LayoutError::BadInitP2m => write!(f, "kernel's INIT_P2M is not a usable address"),
            LayoutError::TooSmall { needed, given, initrd } if *initrd * 2 > *needed => write!(
                f,
                "the initrd does not fit: it has {} MiB, needed in all are {} MiB, Dom0 has {} MiB",
                mib(initrd),
                mib(needed),
                mib(given)
            ),
            LayoutError::TooSmall { needed, given, .. } => {
                write!(
                    f,
                    "too little memory for Dom0: needed are {} MiB, it has {} MiB",
                    mib(needed),
                    mib(given)
                )
            }
        }
    }
}

/// A run of page tables: how many of each level, from L1 up, to map one range below one L4 entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TableCount {
    /// L1 tables.
    pub l1: u64,
    /// L2 tables.
    pub l2: u64,
    /// L3 tables.
    pub l3: u64,
}

impl TableCount {
    /// The tables that map `start..end`, which is not empty.
    pub const fn of(start: u64, end: u64) -> Self {
        const fn touched(start: u64, end: u64, span: u64) -> u64 {
            (end - 1) / span - start / span + 1
        }
        Self {
            l1: touched(start, end, SPANS[0]),
            l2: touched(start, end, SPANS[1]),
            l3: touched(start, end, SPANS[2]),
        }
    }

    /// All of them.
    pub const fn total(self) -> u64 {
        self.l1 + self.l2 + self.l3
    }
}

/// A mapped or unmapped run of pseudo-physical frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Frames {
    /// First frame.
    pub pfn: u64,
    /// How many.
    pub count: u64,
}

impl Frames {
    /// First frame after it.
    pub const fn end(self) -> u64 {
        self.pfn + self.count
    }
}

/// The layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Virtual address of frame 0.
    pub v_start: u64,
    /// First virtual address after the mapped range.
    pub v_end: u64,
    /// The initrd.
    pub initrd: Frames,
    /// Is the initrd inside the mapped range?
    pub initrd_mapped: bool,
    /// The page with start_info.
    pub start_info: Frames,
    /// Page tables of the mapped range: the L4, then all L3, all L2, all L1.
    pub tables: Frames,
    /// Their numbers.
    pub table_count: TableCount,
    /// The boot stack's page.
    pub stack: Frames,
    /// The p2m table's pages.
    pub p2m: Frames,
    /// Virtual address of the p2m table.
    pub p2m_va: u64,
    /// The page tables of the p2m table where it stands at `INIT_P2M`, directly behind it: all L3, L2, L1.
    pub p2m_tables: Frames,
    /// Their numbers.
    pub p2m_table_count: TableCount,
    /// First frame that is nothing in particular.
    pub first_free: u64,
}

impl Layout {
    /// Virtual address of a frame in the mapped range.
    pub const fn va(&self, pfn: u64) -> u64 {
        self.v_start.wrapping_add(pfn * PAGE)
    }

    /// Frames of the mapped range.
    pub const fn mapped(&self) -> u64 {
        self.v_end.wrapping_sub(self.v_start) / PAGE
    }

    /// Computes the layout.
    ///
    /// # Errors
    /// What makes one impossible.
    pub fn compute(ask: &Request) -> Result<Self, LayoutError> {
        let p2m_pages = ask
            .nr_pages
            .checked_mul(8)
            .ok_or(LayoutError::BadInitP2m)?
            .div_ceil(PAGE);
        let initrd_pages = ask.initrd_len.div_ceil(PAGE);
        let small = |needed| LayoutError::TooSmall {
            needed,
            given: ask.nr_pages,
            initrd: initrd_pages,
        };
        let kernel = ask
            .kernel_end
            .checked_sub(ask.virt_base)
            .ok_or(LayoutError::BadVirtBase)?
            .div_ceil(PAGE);
        // What a sum may reach is bounded here, once: every term is below 2^52 pages.
        let rough = kernel.saturating_add(initrd_pages).saturating_add(p2m_pages);
        if rough > ask.nr_pages || ask.nr_pages > 1 << 40 {
            return Err(small(rough));
        }

        let mut next = kernel;
        let mut take = |count: u64| {
            let frames = Frames { pfn: next, count };
            next += count;
            frames
        };
        let mut initrd = Frames::default();
        if !ask.mod_start_pfn {
            initrd = take(initrd_pages);
        }
        let mut p2m = Frames::default();
        if ask.init_p2m.is_none() {
            p2m = take(p2m_pages);
        }
        let start_info = take(1);
        let (v_end, table_count) = map_range(ask.virt_base, start_info.end())?;
        let tables = take(1 + table_count.total());
        let stack = take(1);

        let mut next = (v_end - ask.virt_base) / PAGE;
        let mut p2m_va = ask.virt_base + p2m.pfn * PAGE;
        let (mut p2m_tables, mut p2m_table_count) = (Frames::default(), TableCount::default());
        if let Some(va) = ask.init_p2m {
            p2m_va = va;
            p2m_table_count = check_p2m(va, p2m_pages, ask.virt_base, v_end)?;
            p2m = Frames {
                pfn: next,
                count: p2m_pages,
            };
            p2m_tables = Frames {
                pfn: p2m.end(),
                count: p2m_table_count.total(),
            };
            next = p2m_tables.end();
        }
        if ask.mod_start_pfn {
            initrd = Frames {
                pfn: next,
                count: initrd_pages,
            };
            next = initrd.end();
        }
        if next > ask.nr_pages {
            return Err(small(next));
        }
        Ok(Self {
            v_start: ask.virt_base,
            v_end,
            initrd,
            initrd_mapped: !ask.mod_start_pfn,
            start_info,
            tables,
            table_count,
            stack,
            p2m,
            p2m_va,
            p2m_tables,
            p2m_table_count,
            first_free: next,
        })
    }
}

/// The end of the mapped range and its tables, where `pages` stand before the tables. More tables may push the end
/// over a boundary, which asks for more tables: repeated until it holds.
fn map_range(start: u64, pages: u64) -> Result<(u64, TableCount), LayoutError> {
    let mut tables = TableCount { l1: 1, l2: 1, l3: 1 };
    loop {
        let used = (pages + 1 + tables.total() + 1)
            .checked_mul(PAGE)
            .ok_or(LayoutError::BadVirtBase)?;
        let stack_end = start.checked_add(used).ok_or(LayoutError::BadVirtBase)?;
        let end = stack_end
            .checked_add(PADDING)
            .and_then(|v| v.checked_next_multiple_of(SUPERPAGE));
        let end = end.ok_or(LayoutError::BadVirtBase)?;
        let canonical = end <= 1 << 47 || start >= HOLE_END;
        if !canonical || !start.is_multiple_of(SUPERPAGE) {
            return Err(LayoutError::BadVirtBase);
        }
        let needed = TableCount::of(start, end);
        // One L4 entry is enough for any kernel, and keeps the range from touching the p2m table's.
        if needed.l3 != 1 {
            return Err(LayoutError::BadVirtBase);
        }
        if needed.total() <= tables.total() {
            return Ok((end, needed));
        }
        tables = needed;
    }
}

/// Checks that the p2m table at `va` is canonical, outside the hole, and shares no L4 entry with the kernel's range.
fn check_p2m(va: u64, pages: u64, v_start: u64, v_end: u64) -> Result<TableCount, LayoutError> {
    let end = va.checked_add(pages * PAGE).ok_or(LayoutError::BadInitP2m)?;
    let slot = |va: u64| va >> 39;
    let canonical = end <= 1 << 47 || va >= HOLE_END;
    let disjoint = slot(end - 1) < slot(v_start) || slot(va) > slot(v_end - 1);
    if !va.is_multiple_of(PAGE) || !canonical || !disjoint || pages == 0 {
        return Err(LayoutError::BadInitP2m);
    }
    Ok(TableCount::of(va, end))
}

#[cfg(test)]
#[path = "dom0_layout_tests.rs"]
mod tests;
