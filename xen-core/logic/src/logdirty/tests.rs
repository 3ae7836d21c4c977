//! A guest of two vcpus on shadows, whose pages are copied round by round while it writes them, changes its tables and
//! remembers old translations: after the last round the copy is the guest.

use super::*;
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::vec;
use std::vec::Vec;

const PRESENT_USER: u64 = pte::PRESENT | pte::USER;
const RW_ENTRY: u64 = PRESENT_USER | RW;

/// Frames: the tables, then data. A shadow's frame is above all of them.
const L4: u32 = 0;
const L3: u32 = 1;
const L2: u32 = 2;
/// Two frames that are level-1 tables as long as an entry of level 2 names them.
const L1: [u32; 2] = [3, 4];
const DATA: u32 = 5;
const FRAMES: u32 = 11;
const FIRST_SHADOW: u32 = 100;
/// Entries used of each table of level 1 and 2.
const USED: usize = 3;

/// What a CPU remembers: frame and right to write, by address.
type Tlb = BTreeMap<u64, (u64, bool)>;

#[derive(Default)]
struct Model {
    words: RefCell<BTreeMap<(u32, usize), u64>>,
    tlbs: [Tlb; 2],
    /// The guest's number of each frame.
    pfns: Vec<u64>,
    next_shadow: u32,
    spare: Vec<u32>,
    /// Shadows that may be given out at most.
    limit: usize,
    /// What stands in each frame: the number of its last write.
    contents: Vec<u64>,
    writes: u64,
    deaf: bool,
}

impl Model {
    fn refs(&self, table: u32) -> bool {
        (0..USED).any(|n| {
            let entry = Pte(self.read(L2, n));
            entry.is_present() && entry.mfn() == u64::from(table)
        })
    }

    fn touch(&mut self, frame: u64) {
        self.writes += 1;
        self.contents[frame as usize] = self.writes;
    }
}

impl Machine for Model {
    fn read(&self, table: u32, index: usize) -> u64 {
        self.words.borrow().get(&(table, index)).copied().unwrap_or(0)
    }
    fn exchange(&self, table: u32, index: usize, old: u64, new: u64) -> bool {
        let same = self.read(table, index) == old;
        if same {
            self.words.borrow_mut().insert((table, index), new);
        }
        same
    }
    fn write(&self, shadow: u32, index: usize, value: u64) {
        assert!(shadow >= FIRST_SHADOW, "a guest's table is written");
        self.words.borrow_mut().insert((shadow, index), value);
    }
    fn is_table(&self, frame: u32, level: u8) -> bool {
        match level {
            1 => L1.contains(&frame) && self.refs(frame),
            2 => frame == L2,
            3 => frame == L3,
            _ => frame == L4,
        }
    }
    fn pfn(&self, frame: u64) -> Option<u64> {
        self.pfns.get(frame as usize).copied()
    }
    fn allocate(&mut self) -> Option<u32> {
        if let Some(frame) = self.spare.pop() {
            return Some(frame);
        }
        (self.next_shadow < self.limit as u32).then(|| {
            self.next_shadow += 1;
            FIRST_SHADOW + self.next_shadow
        })
    }
    fn free(&mut self, frame: u32) {
        assert!(!self.spare.contains(&frame), "freed twice");
        self.spare.push(frame);
    }
    fn flush(&mut self) {
        if !self.deaf {
            self.tlbs = Default::default();
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// A vcpu reads or writes at an address.
    Access { vcpu: usize, at: usize, write: bool },
    /// The guest changes an entry of a level-1 table that is one: the frame, writable or not, used before or not.
    Map {
        table: usize,
        index: usize,
        frame: u32,
        flags: u8,
    },
    /// It unmaps.
    Unmap { table: usize, index: usize },
    /// It changes which level-1 table an entry of level 2 names.
    Link {
        index: usize,
        table: Option<usize>,
        writable: bool,
    },
    /// It flushes the CPUs.
    Flush,
    /// It exchanges the numbers of two frames.
    Renumber(u32, u32),
    /// Another domain begins to map a frame writable, or ends.
    Foreign { frame: u32, on: bool },
    /// It writes through such a mapping.
    ForeignWrite(usize),
    /// The hypervisor copies into a page.
    Copy(u32),
    /// The next step of a round's end.
    Step,
}

fn op() -> impl Strategy<Value = Op> {
    let data = || prop_oneof![4 => DATA..FRAMES, 1 => 3u32..5];
    prop_oneof![
        12 => (0usize..2, 0usize..USED * USED, any::<bool>()).prop_map(|(vcpu, at, write)| Op::Access { vcpu, at, write }),
        6 => (0usize..2, 0usize..USED, data(), 0u8..4)
            .prop_map(|(table, index, frame, flags)| Op::Map { table, index, frame, flags }),
        2 => (0usize..2, 0usize..USED).prop_map(|(table, index)| Op::Unmap { table, index }),
        3 => (0usize..USED, proptest::option::of(0usize..2), any::<bool>())
            .prop_map(|(index, table, writable)| Op::Link { index, table, writable }),
        1 => Just(Op::Flush),
        1 => (DATA..FRAMES, DATA..FRAMES).prop_map(|(a, b)| Op::Renumber(a, b)),
        2 => (DATA..FRAMES, any::<bool>()).prop_map(|(frame, on)| Op::Foreign { frame, on }),
        2 => (0usize..8).prop_map(Op::ForeignWrite),
        1 => (DATA..FRAMES).prop_map(Op::Copy),
        5 => Just(Op::Step),
    ]
}

/// Where the end of a round stands.
enum Round {
    Idle,
    Revoking { taken: [u64; WORDS], next: usize },
    Marking { taken: [u64; WORDS] },
}

/// What goes wrong on purpose, to see that the model notices.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flaw {
    None,
    NoRevoke,
    NoFlush,
    NoMarkAgain,
    NoEntryChanged,
}

struct World {
    m: Model,
    t: Tracker,
    round: Round,
    foreign: BTreeSet<u32>,
    image: BTreeMap<u64, u64>,
    flaw: Flaw,
}

fn address(at: usize) -> u64 {
    ((at / USED) as u64) << 21 | ((at % USED) as u64) << 12
}

impl World {
    fn new(shadows: usize, flaw: Flaw) -> Self {
        let mut m = Model {
            pfns: (0..u64::from(FRAMES)).rev().collect(),
            contents: vec![0; FRAMES as usize],
            limit: shadows,
            deaf: flaw == Flaw::NoFlush,
            ..Model::default()
        };
        for (table, index, child) in [(L4, 0, L3), (L3, 0, L2), (L2, 0, L1[0]), (L2, 1, L1[1])] {
            m.words
                .borrow_mut()
                .insert((table, index), u64::from(child) << 12 | RW_ENTRY);
        }
        let mut t = Tracker::new(&mut m, u64::from(FRAMES), shadows, 4).unwrap();
        t.use_root(&mut m, L4).unwrap();
        t.use_root(&mut m, L4).unwrap();
        // The first copy is made after tracking has begun.
        let image = (0..FRAMES).map(|f| (m.pfns[f as usize], 0)).collect();
        Self {
            m,
            t,
            round: Round::Idle,
            foreign: BTreeSet::new(),
            image,
            flaw,
        }
    }

    /// What the CPU does with an address: by what it remembers, or by the tables that it runs on.
    fn translate(&mut self, vcpu: usize, va: u64, write: bool) -> Option<u64> {
        if let Some((frame, writable)) = self.m.tlbs[vcpu].get(&va)
            && (*writable || !write)
        {
            return Some(*frame);
        }
        self.m.tlbs[vcpu].remove(&va);
        let mut table = self.t.shadows.shadow(self.t.shadows.find(L4)?);
        let mut writable = true;
        for level in (1..=4u8).rev() {
            let entry = Pte(self.m.read(table, pte::index(va, level)));
            if !entry.is_present() {
                return None;
            }
            writable &= entry.is_writable();
            if level == 1 {
                if write && !writable {
                    return None;
                }
                self.m.tlbs[vcpu].insert(va, (entry.mfn(), writable));
                return Some(entry.mfn());
            }
            table = entry.mfn() as u32;
            assert!(table >= FIRST_SHADOW, "a shadow leads to a guest's table");
        }
        None
    }

    fn access(&mut self, vcpu: usize, va: u64, write: bool) {
        for _ in 0..2 {
            if let Some(frame) = self.translate(vcpu, va, write) {
                if write {
                    // The rules for types keep tables from being written, and the flush at a change of type does.
                    assert!(!L1.contains(&(frame as u32)) || !self.m.is_table(frame as u32, 1));
                    self.m.touch(frame);
                }
                return;
            }
            let access = Access { write, fetch: false };
            match self.t.fault(&mut self.m, L4, va, access) {
                Fault::Resolved => {}
                Fault::Guest { present } => {
                    let path = Path::find(&self.m, L4, va);
                    assert_eq!(present, path.is_some());
                    assert!(path.is_none_or(|p| write && !p.entries.iter().all(|e| e.is_writable())));
                    return;
                }
                Fault::NoMemory => panic!("no memory for shadows"),
            }
        }
        panic!("a fault that is resolved and stays");
    }

    fn change(&mut self, table: u32, index: usize, entry: u64) {
        self.m.words.borrow_mut().insert((table, index), entry);
        // A page table is memory, too: its contents are the hypervisor's writes.
        self.m.touch(table.into());
        if self.flaw == Flaw::NoEntryChanged {
            self.t.mark(&self.m, table.into());
        } else {
            self.t.entry_changed(&self.m, table, index);
        }
    }

    /// Is the frame mapped writable by any table in use?
    fn is_writable(&self, frame: u32) -> bool {
        let maps = |t: u32, n| {
            let e = Pte(self.m.read(t, n));
            e.is_present() && e.is_writable() && e.mfn() == u64::from(frame)
        };
        L1.iter().any(|t| self.m.refs(*t) && (0..USED).any(|n| maps(*t, n))) || self.foreign.contains(&frame)
    }

    fn link(&mut self, index: usize, table: Option<usize>, writable: bool) {
        let old = Pte(self.m.read(L2, index));
        if let Some(n) = table
            && !self.m.refs(L1[n])
        {
            // It becomes a table: nobody may have it writable, nor remember that he had; what it maps must not be a
            // table.
            let bad = |e: Pte| e.is_present() && (e.mfn() < u64::from(DATA) && e.is_writable());
            if self.is_writable(L1[n]) || (0..USED).any(|i| bad(Pte(self.m.read(L1[n], i)))) {
                return;
            }
            self.m.flush();
            self.t.mark(&self.m, L1[n].into());
        }
        let flags = if writable { RW_ENTRY } else { PRESENT_USER };
        self.change(L2, index, table.map_or(0, |n| u64::from(L1[n]) << 12 | flags));
        if old.is_present() && !self.m.refs(old.mfn() as u32) {
            self.t.table_gone(&self.m, old.mfn() as u32);
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Access { vcpu, at, write } => self.access(vcpu, address(at), write),
            Op::Map {
                table,
                index,
                frame,
                flags,
            } => {
                let writable = flags & 1 != 0;
                let used = if flags & 2 != 0 { ACCESSED | DIRTY } else { 0 };
                let table = L1[table];
                // A table is never mapped writable, and what is no table is written otherwise.
                if self.m.refs(table) && !(writable && self.m.refs(frame)) {
                    let rights = if writable { RW_ENTRY } else { PRESENT_USER };
                    self.change(table, index, u64::from(frame) << 12 | rights | used);
                }
            }
            Op::Unmap { table, index } if self.m.refs(L1[table]) => self.change(L1[table], index, 0),
            Op::Unmap { .. } => {}
            Op::Link { index, table, writable } => self.link(index, table, writable),
            Op::Flush => self.m.flush(),
            Op::Renumber(a, b) => {
                self.m.pfns.swap(a as usize, b as usize);
                for frame in [a, b] {
                    self.t.mark_page(self.m.pfns[frame as usize]);
                }
            }
            Op::Foreign { frame, on: true } => {
                self.foreign.insert(frame);
                self.t.mark(&self.m, frame.into());
            }
            Op::Foreign { frame, on: false } => drop(self.foreign.remove(&frame)),
            Op::ForeignWrite(n) => {
                if let Some(frame) = self.foreign.iter().nth(n) {
                    self.m.touch((*frame).into());
                }
            }
            Op::Copy(frame) => {
                self.m.touch(frame.into());
                self.t.mark(&self.m, frame.into());
            }
            Op::Step => drop(self.step()),
        }
        self.check();
    }

    /// One step of a round's end; true where it was the last.
    fn step(&mut self) -> bool {
        self.round = match core::mem::replace(&mut self.round, Round::Idle) {
            Round::Idle => Round::Revoking {
                taken: self.t.take(0),
                next: 0,
            },
            Round::Revoking { taken, next } if self.flaw != Flaw::NoRevoke => match self.t.revoke(&self.m, next, 2) {
                Some(next) => Round::Revoking { taken, next },
                None => {
                    self.m.flush();
                    Round::Marking { taken }
                }
            },
            Round::Revoking { taken, .. } => Round::Marking { taken },
            Round::Marking { taken } => {
                for frame in self.foreign.iter().filter(|_| self.flaw != Flaw::NoMarkAgain) {
                    self.t.mark(&self.m, (*frame).into());
                }
                // The toolstack is told, and copies.
                for (frame, pfn) in self.m.pfns.iter().enumerate() {
                    if taken[0] >> pfn & 1 != 0 {
                        self.image.insert(*pfn, self.m.contents[frame]);
                    }
                }
                return true;
            }
        };
        false
    }

    /// No shadow allows what the guest's tables do not allow.
    fn check(&self) {
        for table in [L3, L2, L1[0], L1[1]] {
            let Some(slot) = self.t.shadows.find(table) else {
                continue;
            };
            for index in 0..USED {
                let shadow = Pte(self.m.read(self.t.shadows.shadow(slot), index));
                let guest = Pte(self.m.read(table, index));
                if !shadow.is_present() || self.flaw != Flaw::None {
                    continue;
                }
                assert!(guest.is_present() && guest.0 & ACCESSED != 0);
                assert!(!shadow.is_writable() || guest.is_writable());
                if self.t.shadows.level(slot) == 1 {
                    assert_eq!(shadow.mfn(), guest.mfn());
                    assert!(!shadow.is_writable() || guest.0 & DIRTY != 0);
                    let pfn = self.m.pfns[guest.mfn() as usize];
                    let revoking = matches!(self.round, Round::Revoking { .. });
                    assert!(!shadow.is_writable() || revoking || self.t.is_marked(pfn));
                } else {
                    assert_eq!(
                        self.t
                            .shadows
                            .find(guest.mfn() as u32)
                            .map(|s| self.t.shadows.shadow(s)),
                        Some(shadow.mfn() as u32)
                    );
                }
            }
        }
        assert!(self.t.frames() <= self.m.limit);
    }

    /// Runs, ends the round that is under way and makes the last one; true if the copy is the guest.
    fn run(mut self, ops: &[Op]) -> bool {
        ops.iter().for_each(|op| self.apply(op));
        if !matches!(self.round, Round::Idle) {
            while !self.step() {}
        }
        self.foreign.clear();
        while !self.step() {}
        assert!(!self.t.has_overflown());
        let same = (self.m.pfns.iter().zip(&self.m.contents)).all(|(pfn, now)| self.image.get(pfn) == Some(now));
        self.t.dismantle(&mut self.m);
        assert_eq!(self.m.spare.len(), self.m.next_shadow as usize, "a frame is lost");
        same
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    /// Whatever the guest, others and the hypervisor do while rounds go on, the copy ends as the guest is; and no
    /// shadow ever allows more than the guest's tables.
    #[test]
    fn the_copy_is_the_guest(shadows in 4usize..9, ops in proptest::collection::vec(op(), 0..120)) {
        prop_assert!(World::new(shadows, Flaw::None).run(&ops));
    }
}

/// Each step of the rules is needed: without it some course of events leaves a page behind, and the model sees that.
#[test]
fn the_model_notices_what_is_left_out() {
    let access = |vcpu, at, write| Op::Access { vcpu, at, write };
    let map = |index, frame| Op::Map {
        table: 0,
        index,
        frame,
        flags: 1,
    };
    let twice = [
        map(0, DATA),
        access(0, 0, true),
        Op::Step,
        Op::Step,
        Op::Step,
        Op::Step,
        Op::Step,
        Op::Step,
        access(0, 0, true),
    ];
    let foreign = [
        Op::Foreign { frame: DATA, on: true },
        Op::Step,
        Op::Step,
        Op::Step,
        Op::Step,
        Op::Step,
        Op::Step,
        Op::ForeignWrite(0),
    ];
    for (flaw, ops) in [
        (Flaw::NoRevoke, &twice[..]),
        (Flaw::NoFlush, &twice[..]),
        (Flaw::NoMarkAgain, &foreign[..]),
    ] {
        assert!(World::new(8, Flaw::None).run(ops), "{flaw:?}: the model is wrong");
        assert!(!World::new(8, flaw).run(ops), "{flaw:?} is not noticed");
    }
    // A stale shadow leads elsewhere: the write goes to a page that the guest does not mean, and is caught.
    let ops = [
        map(0, DATA),
        access(0, 0, true),
        map(0, DATA + 1),
        Op::Flush,
        access(0, 0, true),
    ];
    let mut good = World::new(8, Flaw::None);
    ops.iter().for_each(|op| good.apply(op));
    assert_eq!(good.m.contents[DATA as usize + 1], good.m.writes);
    let mut bad = World::new(8, Flaw::NoEntryChanged);
    ops.iter().for_each(|op| bad.apply(op));
    assert_eq!(bad.m.contents[DATA as usize], bad.m.writes);
}

#[test]
fn a_page_without_a_mark_is_told() {
    let mut m = Model::default();
    let mut t = Tracker::new(&mut m, 10, 4, 0).unwrap();
    t.mark_page(PAGES_PER_LEAF - 1);
    assert!(!t.has_overflown());
    assert_eq!(t.peek(0)[WORDS - 1], 1 << 63);
    assert_eq!(t.take(0)[WORDS - 1], 1 << 63);
    assert_eq!(t.peek(0), [0; WORDS]);
    assert_eq!(t.take(1), [0; WORDS]);
    t.mark_page(PAGES_PER_LEAF);
    assert!(t.has_overflown());
    t.mark_all();
    assert!(t.is_marked(0) && t.is_marked(PAGES_PER_LEAF - 1) && !t.is_marked(PAGES_PER_LEAF));
}

#[test]
fn without_memory_nothing_is_left_behind() {
    let mut m = Model {
        limit: 2,
        ..Model::default()
    };
    assert!(Tracker::new(&mut m, 10, 8, 3).is_err());
    assert_eq!(m.spare.len(), 2);
}

proptest! {
    /// Places are found by their tables, and keep their numbers.
    #[test]
    fn shadows_are_found(ops in proptest::collection::vec((any::<bool>(), 0u32..40), 0..200)) {
        let mut map = map::ShadowMap::new(16).unwrap();
        let mut known = BTreeMap::new();
        for (add, table) in ops {
            match (add, known.get(&table).copied()) {
                (true, None) => {
                    let slot = map.insert(table, table + 1000, 1);
                    prop_assert_eq!(slot.is_some(), known.len() < 16);
                    slot.map(|slot| known.insert(table, slot));
                }
                (false, Some(slot)) => {
                    prop_assert_eq!(map.remove(slot), table + 1000);
                    known.remove(&table);
                }
                _ => {}
            }
            prop_assert_eq!(map.len(), known.len());
            prop_assert_eq!(map.room(), 16 - known.len());
            for table in 0..40 {
                prop_assert_eq!(map.find(table), known.get(&table).copied());
            }
        }
    }
}
