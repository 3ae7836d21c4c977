//! The allocator against a set of frames: nothing is given twice, nothing is lost, limits hold.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::vec;
use std::vec::Vec;

/// Frame entries in an array.
struct Table {
    blocks: Vec<Option<(u8, Marks)>>,
    links: Vec<(u32, u32)>,
}

impl Table {
    fn new(frames: usize) -> Self {
        Self {
            blocks: vec![None; frames],
            links: vec![(NIL, NIL); frames],
        }
    }
}

impl Frames for Table {
    fn block(&self, frame: u32) -> Option<(u8, Marks)> {
        *self.blocks.get(frame as usize)?
    }
    fn set_block(&mut self, frame: u32, block: Option<(u8, Marks)>) {
        self.blocks[frame as usize] = block;
    }
    fn links(&self, frame: u32) -> (u32, u32) {
        self.links[frame as usize]
    }
    fn set_links(&mut self, frame: u32, links: (u32, u32)) {
        self.links[frame as usize] = links;
    }
    fn newer(&self, a: u32, b: u32) -> u32 {
        a.max(b)
    }
}

const FRAMES: u32 = 1000;

#[derive(Clone, Debug)]
enum Op {
    Alloc { order: u8, bits: u32 },
    Free { which: usize, dirty: bool, epoch: u32 },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0u8..8, 4u32..12).prop_map(|(order, bits)| Op::Alloc { order, bits }),
        (any::<usize>(), any::<bool>(), 0u32..100).prop_map(|(which, dirty, epoch)| Op::Free { which, dirty, epoch }),
    ]
}

/// Blocks by first frame: what lies where, with no overlap.
fn free_blocks(table: &Table) -> BTreeMap<u32, u8> {
    (0..FRAMES)
        .filter_map(|f| table.block(f).map(|(order, _)| (f, order)))
        .collect()
}

fn check(buddy: &Buddy, table: &Table, held: &[(u32, u8)]) -> Result<(), TestCaseError> {
    let mut owner = vec![0u8; FRAMES as usize];
    let free = free_blocks(table);
    for (&start, &order) in &free {
        prop_assert_eq!(start % (1 << order), 0);
        for f in start..start + (1 << order) {
            owner[f as usize] += 1;
        }
        let twin = start ^ 1 << order;
        prop_assert!(
            order == MAX_ORDER || free.get(&twin) != Some(&order),
            "unmerged buddies at {}",
            start
        );
    }
    for &(start, order) in held {
        for f in start..start + (1 << order) {
            owner[f as usize] += 1;
        }
    }
    prop_assert_eq!(owner[0], 0);
    prop_assert!(owner[1..].iter().all(|&n| n == 1));
    let total: u64 = free.values().map(|&o| 1u64 << o).sum();
    prop_assert_eq!(buddy.free_frames(), total);
    Ok(())
}

proptest! {
    #[test]
    fn every_frame_is_free_once_or_held_once(ops in proptest::collection::vec(op(), 1..200)) {
        let (mut buddy, mut table) = (Buddy::new(), Table::new(FRAMES as usize));
        buddy.add_region(&mut table, 0, FRAMES, Marks::default());
        let mut held: Vec<(u32, u8)> = Vec::new();
        for op in ops {
            match op {
                Op::Alloc { order, bits } => {
                    let possible = free_blocks(&table).iter().any(|(&f, &o)| o >= order && zone_of(f) <= bits as usize);
                    let got = buddy.alloc(&mut table, order, bits);
                    prop_assert_eq!(got.is_some(), possible);
                    if let Some((frame, _)) = got {
                        prop_assert_eq!(frame % (1 << order), 0);
                        prop_assert!(frame + (1 << order) <= 1 << bits);
                        held.push((frame, order));
                    }
                }
                Op::Free { which, dirty, epoch } if !held.is_empty() => {
                    let (frame, order) = held.swap_remove(which % held.len());
                    buddy.free(&mut table, frame, order, Marks { dirty, epoch });
                }
                Op::Free { .. } => {}
            }
            check(&buddy, &table, &held)?;
        }
        for (frame, order) in held.drain(..) {
            buddy.free(&mut table, frame, order, Marks::default());
        }
        prop_assert_eq!(buddy.free_frames(), u64::from(FRAMES) - 1);
    }

    /// A frame freed dirty, or stamped, is never handed out as clean or with an older stamp.
    #[test]
    fn marks_are_never_lost(frees in proptest::collection::vec((0u32..64, any::<bool>(), 1u32..50), 1..64)) {
        let (mut buddy, mut table) = (Buddy::new(), Table::new(FRAMES as usize));
        let mut marks = BTreeMap::new();
        for (frame, dirty, epoch) in frees {
            // Frames that are free already keep their first marks.
            if let std::collections::btree_map::Entry::Vacant(slot) = marks.entry(64 + frame) {
                slot.insert((dirty, epoch));
                buddy.free(&mut table, 64 + frame, 0, Marks { dirty, epoch });
            }
        }
        while let Some((frame, got)) = buddy.alloc(&mut table, 0, 32) {
            if let Some(&(dirty, epoch)) = marks.get(&frame) {
                prop_assert!(got.dirty || !dirty);
                prop_assert!(got.epoch >= epoch);
            }
        }
    }
}

#[test]
fn low_memory_is_used_last() {
    let (mut buddy, mut table) = (Buddy::new(), Table::new(FRAMES as usize));
    buddy.add_region(&mut table, 1, FRAMES, Marks::default());
    let (frame, _) = buddy.alloc(&mut table, 0, 32).expect("free memory");
    assert!(frame >= 512);
    let (frame, _) = buddy.alloc(&mut table, 2, 6).expect("low memory");
    assert!(frame + 4 <= 64);
}

#[test]
fn too_large_orders_are_refused() {
    let (mut buddy, mut table) = (Buddy::new(), Table::new(16));
    assert_eq!(buddy.alloc(&mut table, MAX_ORDER + 1, 32), None);
    assert_eq!(buddy.alloc(&mut table, 0, 32), None);
}
