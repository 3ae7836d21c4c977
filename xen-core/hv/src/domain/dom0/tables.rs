//! Dom0's first page tables.

use super::memory::Memory;
use crate::mm::layout::PAGE_SIZE;
use xen_logic::dom0_layout::{Frames, Layout, TableCount};

/// Present, writable, user, accessed, dirty: the guest kernel runs in ring 3.
const RW: u64 = 0x67;
/// The same without writable.
const RO: u64 = 0x65;

/// The tables below one L4 entry, in the layout's order: all L3, all L2, all L1.
struct Tree {
    va: u64,
    l3: u64,
    l2: u64,
    l1: u64,
}

impl Tree {
    fn new(va: u64, first: u64, count: TableCount) -> Self {
        Self {
            va,
            l3: first,
            l2: first + count.l3,
            l1: first + count.l3 + count.l2,
        }
    }

    /// Links the tables for `pages` pages from the tree's address on, and maps them as `entry` says.
    fn map(&self, memory: &Memory, root: u64, pages: u64, mut entry: impl FnMut(u64) -> u64) {
        let table = |pfn: u64| memory.mfn(pfn).maddr() | RW;
        let (l1_start, l2_start, l3_start) = (self.va >> 21, self.va >> 30, self.va >> 39);
        for page in 0..pages {
            let va = self.va + page * PAGE_SIZE;
            let first = page == 0;
            let l1 = self.l1 + (va >> 21) - l1_start;
            let l2 = self.l2 + (va >> 30) - l2_start;
            let l3 = self.l3 + (va >> 39) - l3_start;
            if first || va.is_multiple_of(512 << 30) {
                memory.write_word(root, va >> 39, table(l3));
            }
            if first || va.is_multiple_of(1 << 30) {
                memory.write_word(l3, va >> 30, table(l2));
            }
            if first || va.is_multiple_of(2 << 20) {
                memory.write_word(l2, va >> 21, table(l1));
            }
            memory.write_word(l1, va >> 12, entry(page));
        }
    }
}

fn contains(frames: Frames, pfn: u64) -> bool {
    frames.pfn <= pfn && pfn < frames.end()
}

/// Builds them.
pub(super) fn build(memory: &Memory, layout: &Layout) {
    let root = layout.tables.pfn;
    // What is not written is not present.
    for frames in [layout.tables, layout.p2m_tables] {
        memory.clear(frames.pfn * PAGE_SIZE, frames.count * PAGE_SIZE);
    }
    let kernel = Tree::new(layout.v_start, root + 1, layout.table_count);
    kernel.map(memory, root, layout.mapped(), |pfn| {
        // A page table may be mapped, but never writable.
        let flags = if contains(layout.tables, pfn) { RO } else { RW };
        memory.mfn(pfn).maddr() | flags
    });
    if layout.p2m_tables.count != 0 {
        let p2m = Tree::new(layout.p2m_va, layout.p2m_tables.pfn, layout.p2m_table_count);
        p2m.map(memory, root, layout.p2m.count, |page| {
            memory.mfn(layout.p2m.pfn + page).maddr() | RW
        });
    }
}
