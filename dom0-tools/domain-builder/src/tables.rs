//! The contents of the first page tables.

use alloc::vec::Vec;

use crate::layout::{Frames, Layout};

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
/// An entry that names a table.
const TABLE: u64 = PRESENT | WRITABLE | USER | ACCESSED | DIRTY;
/// An entry that maps a page to read.
const PAGE: u64 = PRESENT | ACCESSED;

type Table = [u64; 512];

/// Tables by frame, as they are made.
struct Tables<'a> {
    p2m: &'a [u64],
    /// Where the tables stand: the mapped range's, then the p2m table's.
    places: [Frames; 2],
    tables: [Vec<Table>; 2],
}

/// Which of the two runs of tables an address belongs to, and which table in it.
type Place = (usize, usize);

impl Tables<'_> {
    fn mfn(&self, (run, index): Place) -> u64 {
        self.p2m[self.places[run].pfn as usize + index]
    }

    /// A new table in run `run`. The layout has counted them.
    fn add(&mut self, run: usize) -> Place {
        self.tables[run].push([0; 512]);
        (run, self.tables[run].len() - 1)
    }

    /// Maps frames from `va` on, with tables from run `run`.
    fn map(&mut self, run: usize, va: u64, frames: Frames, is_table: impl Fn(u64) -> bool) {
        let mut path: [Option<Place>; 3] = [None; 3];
        for (step, pfn) in frames.range().enumerate() {
            let va = va.wrapping_add(step as u64 * 4096);
            let index = |level: usize| (va >> (12 + 9 * level)) as usize & 511;
            let mut table = (0, 0);
            for level in [2, 1, 0] {
                // A table is left where the address enters the next one of its level.
                let is_new = step == 0 || va.trailing_zeros() as usize >= 21 + 9 * level;
                if is_new {
                    path[level] = None;
                }
                let below = match path[level] {
                    Some(place) => place,
                    None => {
                        let place = self.add(run);
                        let entry = self.mfn(place) << 12 | TABLE;
                        self.tables[table.0][table.1][index(level + 1)] = entry;
                        path[level] = Some(place);
                        place
                    }
                };
                table = below;
            }
            let writable = if is_table(pfn) { 0 } else { WRITABLE };
            self.tables[table.0][table.1][index(0)] = self.p2m[pfn as usize] << 12 | PAGE | writable;
        }
    }
}

/// All page tables of a layout, in the order of their frames: those of the mapped range, the root first, then those
/// of the p2m table. `p2m` has the machine frame of each frame.
pub(crate) fn fill(layout: &Layout, p2m: &[u64]) -> Vec<Table> {
    let mut all = Tables {
        p2m,
        places: [layout.tables, layout.p2m_tables],
        tables: [Vec::new(), Vec::new()],
    };
    all.add(0);
    let kernel = Frames {
        pfn: 0,
        count: layout.mapped,
    };
    all.map(0, layout.virt_base, kernel, |pfn| layout.is_table(pfn));
    if layout.p2m_tables.count != 0 {
        all.map(1, layout.p2m_va, layout.p2m, |_| false);
    }
    let [mut tables, more] = all.tables;
    debug_assert_eq!(tables.len() as u64, layout.tables.count);
    debug_assert_eq!(more.len() as u64, layout.p2m_tables.count);
    tables.extend(more);
    tables
}
