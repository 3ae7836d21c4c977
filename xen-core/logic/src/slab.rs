//! Slots of one size, cut from whole pages: which are free, and when a page can be given back.
//!
//! Pages that have both free and used slots are on a list; full ones are on none. A page whose last slot comes back is
//! kept as the *spare*, so that one object that comes and goes does not ask for a page each time; a second one is given
//! back. So no more stays than one page of each size beside those in use.
//!
//! What is known of a page is kept where [`Pages`] likes: the list in its frame's entry, the chain of free slots in the
//! free slots themselves.

use crate::page_list::{self, Links, NIL};

/// The free slots of a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Free {
    /// The first of the chain; of no meaning if there is none.
    pub first: u16,
    /// How many there are.
    pub count: u16,
}

/// Where it is kept what is free.
pub trait Pages: Links {
    /// The free slots of a page that this size has.
    fn free(&self, page: u32) -> Free;
    /// Notes them.
    fn set_free(&mut self, page: u32, free: Free);
    /// The free slot behind a free slot.
    fn next(&self, page: u32, slot: u16) -> u16;
    /// Notes it in the free slot.
    fn set_next(&mut self, page: u32, slot: u16, next: u16);
}

/// The pages of one size of slots; the caller serialises access.
#[derive(Debug)]
pub struct Slab {
    /// Slots of a page, at least one.
    slots: u16,
    /// Pages with free and used slots.
    partial: u32,
    /// A page with no used slot.
    spare: u32,
}

impl Slab {
    /// No pages, which are to have `slots` slots each.
    pub const fn new(slots: u16) -> Self {
        Self {
            slots,
            partial: NIL,
            spare: NIL,
        }
    }

    /// Takes a slot, if one is free.
    pub fn take(&mut self, pages: &mut impl Pages) -> Option<(u32, u16)> {
        if self.partial == NIL {
            if self.spare == NIL {
                return None;
            }
            let page = core::mem::replace(&mut self.spare, NIL);
            page_list::push(&mut self.partial, pages, page);
        }
        let page = self.partial;
        let Free { first, count } = pages.free(page);
        let left = count - 1;
        if left == 0 {
            page_list::unlink(&mut self.partial, pages, page);
        }
        let next = if left == 0 { 0 } else { pages.next(page, first) };
        pages.set_free(
            page,
            Free {
                first: next,
                count: left,
            },
        );
        Some((page, first))
    }

    /// Gets a page that nobody uses.
    pub fn add(&mut self, pages: &mut impl Pages, page: u32) {
        for slot in 1..self.slots {
            pages.set_next(page, slot - 1, slot);
        }
        let count = self.slots;
        pages.set_free(page, Free { first: 0, count });
        page_list::push(&mut self.partial, pages, page);
    }

    /// Takes back a slot that [`Self::take`] gave; perhaps a page that is no longer needed.
    #[must_use]
    pub fn put(&mut self, pages: &mut impl Pages, page: u32, slot: u16) -> Option<u32> {
        let Free { first, count } = pages.free(page);
        debug_assert!(count < self.slots, "a slot that is free comes back");
        if count > 0 {
            pages.set_next(page, slot, first);
        }
        let count = count + 1;
        pages.set_free(page, Free { first: slot, count });
        if count == 1 && self.slots > 1 {
            page_list::push(&mut self.partial, pages, page);
        }
        if count < self.slots {
            return None;
        }
        if count > 1 {
            page_list::unlink(&mut self.partial, pages, page);
        }
        if self.spare != NIL {
            return Some(page);
        }
        self.spare = page;
        None
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::vec;
    use std::vec::Vec;

    const PAGES: u32 = 6;

    /// Pages in arrays; a chain that leads into a used slot is found, since use overwrites it.
    struct Table {
        links: Vec<(u32, u32)>,
        free: Vec<Free>,
        chain: BTreeMap<(u32, u16), u16>,
    }

    impl Table {
        fn new() -> Self {
            Self {
                links: vec![(0xdead, 0xdead); PAGES as usize],
                free: vec![Free { first: 99, count: 99 }; PAGES as usize],
                chain: BTreeMap::new(),
            }
        }
    }

    impl Links for Table {
        fn links(&self, page: u32) -> (u32, u32) {
            self.links[page as usize]
        }
        fn set_links(&mut self, page: u32, links: (u32, u32)) {
            self.links[page as usize] = links;
        }
    }

    impl Pages for Table {
        fn free(&self, page: u32) -> Free {
            self.free[page as usize]
        }
        fn set_free(&mut self, page: u32, free: Free) {
            self.free[page as usize] = free;
        }
        fn next(&self, page: u32, slot: u16) -> u16 {
            self.chain[&(page, slot)]
        }
        fn set_next(&mut self, page: u32, slot: u16, next: u16) {
            self.chain.insert((page, slot), next);
        }
    }

    proptest! {
        /// No slot is given twice, each free one is found before a new page is wanted, only empty pages are given back, and
        /// at most one of those is kept.
        #[test]
        fn slots_are_given_once_and_pages_come_back(
            slots in 1u16..6,
            ops in proptest::collection::vec((any::<bool>(), any::<u16>()), 0..200),
        ) {
            let mut table = Table::new();
            let mut slab = Slab::new(slots);
            let mut used: Vec<(u32, u16)> = Vec::new();
            let mut outside: BTreeSet<u32> = (0..PAGES).collect();
            for (take, which) in ops {
                if take {
                    let mut got = slab.take(&mut table);
                    if got.is_none() {
                        let held = PAGES as usize - outside.len();
                        prop_assert_eq!(used.len(), held * usize::from(slots), "a free slot was not found");
                        let Some(page) = outside.pop_first() else { continue };
                        slab.add(&mut table, page);
                        got = slab.take(&mut table);
                    }
                    let got = got.expect("there is a free slot");
                    prop_assert!(got.1 < slots && !outside.contains(&got.0) && !used.contains(&got));
                    table.chain.remove(&got);
                    used.push(got);
                } else if !used.is_empty() {
                    let (page, slot) = used.swap_remove(usize::from(which) % used.len());
                    if let Some(back) = slab.put(&mut table, page, slot) {
                        prop_assert!(used.iter().all(|(page, _)| *page != back), "a page in use");
                        prop_assert!(outside.insert(back), "a page that it does not have");
                    }
                }
                let in_use: BTreeSet<u32> = used.iter().map(|(page, _)| *page).collect();
                prop_assert!(PAGES as usize - outside.len() - in_use.len() <= 1, "more than the spare is kept");
            }
        }
    }
}
