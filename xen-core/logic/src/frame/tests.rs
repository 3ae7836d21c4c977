//! Page typing against a model: random guests' operations, and after each the invariants that `docs/soundness.md`
//! states.
//!
//! The machine here has a few frames and entries, and a domain that maps, unmaps, pins, unpins and frees at random,
//! in any order that a guest could. Tables are checked and undone by the same rules as in the hypervisor, with
//! interruptions at random places.

use super::cells::{self, Acquired, Finish, Frame, Released, Word};
use super::{CountWord, Type, TypeWord};
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::vec;
use std::vec::Vec;

const FRAMES: usize = 6;
const SLOTS: usize = 4;

/// A word that one thread exchanges.
pub(super) struct AtomicWord(pub(super) Cell<u64>);

impl Word for AtomicWord {
    fn load(&self) -> u64 {
        self.0.get()
    }
    fn exchange(&self, old: u64, new: u64) -> Result<(), u64> {
        if self.0.get() != old {
            return Err(self.0.get());
        }
        self.0.set(new);
        Ok(())
    }
}

struct TestFrame {
    count: AtomicWord,
    typ: AtomicWord,
    stamps: Cell<u32>,
    freed: Cell<bool>,
}

impl Frame for TestFrame {
    type Cell = AtomicWord;
    fn count(&self) -> &AtomicWord {
        &self.count
    }
    fn typ(&self) -> &AtomicWord {
        &self.typ
    }
    fn stamp(&self) {
        self.stamps.set(self.stamps.get() + 1);
    }
    fn free(&self) {
        assert!(!self.freed.replace(true), "freed twice");
    }
}

impl TestFrame {
    fn word(&self) -> TypeWord {
        TypeWord(self.typ.load())
    }
}

/// An entry: what frame it names, and whether it allows writes (level 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    frame: usize,
    writable: bool,
}

/// A machine with one guest.
struct Machine {
    frames: Vec<TestFrame>,
    /// Contents of each frame, read as a table.
    contents: Vec<RefCell<Vec<Option<Entry>>>>,
    /// Uses that the pending list owns.
    pending: RefCell<Vec<usize>>,
    /// Steps until the next interruption.
    fuel: Cell<u32>,
}

#[derive(Debug, PartialEq, Eq)]
enum Fail {
    Refused,
    Again,
}

impl Machine {
    fn new() -> Self {
        let frame = |_| TestFrame {
            count: AtomicWord(Cell::new(CountWord::ALLOCATED.0)),
            typ: AtomicWord(Cell::new(0)),
            stamps: Cell::new(0),
            freed: Cell::new(false),
        };
        Self {
            frames: (0..FRAMES).map(frame).collect(),
            contents: (0..FRAMES).map(|_| RefCell::new(vec![None; SLOTS])).collect(),
            pending: RefCell::new(Vec::new()),
            fuel: Cell::new(u32::MAX),
        }
    }

    fn tired(&self) -> bool {
        self.fuel.set(self.fuel.get().saturating_sub(1));
        self.fuel.get() == 0
    }

    fn acquire(&self, frame: usize, want: Type) -> Result<(), Fail> {
        let f = &self.frames[frame];
        loop {
            match cells::get_type(f, want, false, || !f.freed.get()) {
                Acquired::Granted => return Ok(()),
                Acquired::Claimed { resume, .. } => return self.check(frame, want, resume),
                Acquired::Undo { typ, resume } => {
                    if !self.unwind(frame, typ, resume) {
                        self.pending.borrow_mut().push(frame);
                        return Err(Fail::Again);
                    }
                }
                Acquired::Wait => panic!("one CPU waits for itself"),
                Acquired::Refused(_) | Acquired::NotOwned => return Err(Fail::Refused),
            }
        }
    }

    fn hold(&self, entry: Entry, level: u8) -> Result<(), Fail> {
        match Type::of_level(level.wrapping_sub(1)) {
            Some(child) => self.acquire(entry.frame, child),
            None if entry.writable => self.acquire(entry.frame, Type::Writable),
            None => {
                let f = &self.frames[entry.frame];
                if !f.freed.get() && cells::get_reference(f) {
                    Ok(())
                } else {
                    Err(Fail::Refused)
                }
            }
        }
    }

    /// False if interrupted: the entry still holds.
    fn drop_entry(&self, entry: Entry, level: u8) -> bool {
        let f = &self.frames[entry.frame];
        if level == 1 && !entry.writable {
            cells::put_reference(f);
            return true;
        }
        match cells::put_type(f) {
            Released::Done => true,
            Released::Undo { typ, resume } => self.unwind(entry.frame, typ, resume),
        }
    }

    fn check(&self, frame: usize, want: Type, resume: u16) -> Result<(), Fail> {
        let f = &self.frames[frame];
        if !want.is_page_table() {
            cells::finish(f, Finish::Validated);
            return Ok(());
        }
        // The last entry that holds something may hold a table that is half undone: see `mm::pt::check_table`.
        if want != Type::L1 && resume != 0 {
            let revived = self.revive(frame, want.level(), (resume as usize).min(SLOTS) - 1);
            if let Err(fail) = revived {
                return self.stop_check(frame, want, resume, fail);
            }
        }
        for at in resume as usize..SLOTS {
            let entry = self.contents[frame].borrow()[at];
            let Some(entry) = entry else { continue };
            match self.hold(entry, want.level()) {
                Ok(()) => {}
                Err(fail) => return self.stop_check(frame, want, at as u16, fail),
            }
            if self.tired() && at + 1 < SLOTS {
                cells::finish(
                    f,
                    Finish::Parked {
                        resume: at as u16 + 1,
                        keep: false,
                    },
                );
                return Err(Fail::Again);
            }
        }
        cells::finish(f, Finish::Validated);
        Ok(())
    }

    fn revive(&self, frame: usize, level: u8, at: usize) -> Result<(), Fail> {
        let entry = self.contents[frame].borrow()[at];
        if let Some(entry) = entry {
            self.hold(entry, level)?;
            self.release(entry.frame);
        }
        Ok(())
    }

    fn stop_check(&self, frame: usize, want: Type, at: u16, fail: Fail) -> Result<(), Fail> {
        if fail == Fail::Again {
            cells::finish(
                &self.frames[frame],
                Finish::Parked {
                    resume: at,
                    keep: false,
                },
            );
        } else if !self.unwind(frame, want, at) {
            self.pending.borrow_mut().push(frame);
        }
        Err(fail)
    }

    /// Undoes a busy table; false if interrupted.
    fn unwind(&self, frame: usize, typ: Type, resume: u16) -> bool {
        let f = &self.frames[frame];
        for at in (0..(resume as usize).min(SLOTS)).rev() {
            let entry = self.contents[frame].borrow()[at];
            let Some(entry) = entry else { continue };
            if !self.drop_entry(entry, typ.level()) {
                cells::finish(
                    f,
                    Finish::Parked {
                        resume: at as u16 + 1,
                        keep: true,
                    },
                );
                return false;
            }
            if self.tired() && at > 0 {
                cells::finish(
                    f,
                    Finish::Parked {
                        resume: at as u16,
                        keep: true,
                    },
                );
                return false;
            }
        }
        cells::finish(f, Finish::Undone);
        true
    }

    fn release(&self, frame: usize) {
        if let Released::Undo { typ, resume } = cells::put_type(&self.frames[frame])
            && !self.unwind(frame, typ, resume)
        {
            self.pending.borrow_mut().push(frame);
        }
    }

    fn finish_pending(&self) {
        while let Some(frame) = { self.pending.borrow_mut().pop() } {
            self.release(frame);
        }
    }

    /// `mmu_update` of one entry.
    fn update(&self, table: usize, at: usize, new: Option<Entry>) -> Result<(), Fail> {
        let word = self.frames[table].word();
        let typ = if word.typ().is_page_table() && word.holds_reference() {
            word.typ()
        } else {
            Type::Writable
        };
        self.acquire(table, typ)?;
        let result = if typ == Type::Writable {
            self.contents[table].borrow_mut()[at] = new;
            Ok(())
        } else {
            self.update_held(table, typ, at, new)
        };
        self.release(table);
        result
    }

    fn update_held(&self, table: usize, typ: Type, at: usize, new: Option<Entry>) -> Result<(), Fail> {
        if let Some(entry) = new {
            self.hold(entry, typ.level())?;
        }
        let old = std::mem::replace(&mut self.contents[table].borrow_mut()[at], new);
        if let Some(entry) = old {
            if typ == Type::L1 {
                self.drop_entry(entry, 1);
            } else {
                self.release(entry.frame);
            }
        }
        Ok(())
    }

    fn pin(&self, frame: usize, typ: Type) -> Result<(), Fail> {
        self.acquire(frame, typ)?;
        if !cells::pin(&self.frames[frame]) {
            self.release(frame);
            return Err(Fail::Refused);
        }
        Ok(())
    }

    fn unpin(&self, frame: usize) {
        let f = &self.frames[frame];
        if !f.freed.get() && cells::get_reference(f) {
            if cells::unpin(f) {
                self.release(frame);
            }
            cells::put_reference(f);
        }
    }

    fn give_up(&self, frame: usize) {
        let f = &self.frames[frame];
        if !f.freed.get() {
            let word = f.word();
            if word.is_parked() && word.count() == 0 && self.acquire(frame, Type::Writable).is_ok() {
                self.release(frame);
            }
            cells::release_allocation(f);
        }
    }

    /// Which of a table's entries hold something, by its word.
    fn holding(&self, frame: usize) -> usize {
        let word = self.frames[frame].word();
        if !word.typ().is_page_table() {
            0
        } else if word.is_valid() {
            SLOTS
        } else if word.is_parked() {
            (word.resume() as usize).min(SLOTS)
        } else {
            0
        }
    }

    fn check_invariants(&self) -> Result<(), TestCaseError> {
        let mut uses = [0u64; FRAMES];
        let mut references = [0u64; FRAMES];
        let mut writable = [false; FRAMES];
        for table in 0..FRAMES {
            let word = self.frames[table].word();
            for entry in self.contents[table].borrow()[..self.holding(table)].iter().flatten() {
                match word.typ() {
                    Type::L1 if entry.writable => {
                        uses[entry.frame] += 1;
                        writable[entry.frame] = true;
                    }
                    Type::L1 => references[entry.frame] += 1,
                    _ => uses[entry.frame] += 1,
                }
            }
            uses[table] += word.is_pinned() as u64;
        }
        for frame in self.pending.borrow().iter() {
            uses[*frame] += 1;
        }
        for (n, f) in self.frames.iter().enumerate() {
            let (word, count) = (f.word(), CountWord(f.count.load()));
            prop_assert!(!word.is_busy(), "frame {} left busy", n);
            prop_assert_eq!(word.count(), uses[n], "uses of frame {}: {:?}", n, word);
            let held = references[n] + word.holds_reference() as u64 + count.is_allocated() as u64;
            prop_assert_eq!(
                count.count(),
                held,
                "references of frame {}: {:?}, {:?}",
                n,
                count,
                word
            );
            prop_assert_eq!(f.freed.get(), held == 0, "frame {} freed too early or never", n);
            // The heart of it: what somebody can write to is no table, and what is a table nobody can write to.
            if writable[n] {
                prop_assert_eq!(word.typ(), Type::Writable);
                prop_assert!(word.is_valid());
            }
            if word.is_valid() && word.typ().is_page_table() {
                prop_assert!(!writable[n]);
                self.check_children(n, word.typ())?;
            }
        }
        Ok(())
    }

    /// A valid table of level 2 and up names valid tables of the level below only (or ones being undone, once it is
    /// being undone itself).
    fn check_children(&self, table: usize, typ: Type) -> Result<(), TestCaseError> {
        if typ == Type::L1 {
            return Ok(());
        }
        for entry in self.contents[table].borrow().iter().flatten() {
            let child = self.frames[entry.frame].word();
            prop_assert_eq!(Some(child.typ()), Type::of_level(typ.level() - 1));
            prop_assert!(
                child.is_valid(),
                "table {} names frame {}: {:?}",
                table,
                entry.frame,
                child
            );
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Op {
    Update {
        table: usize,
        at: usize,
        new: Option<Entry>,
    },
    Pin {
        frame: usize,
        level: u8,
    },
    Unpin {
        frame: usize,
    },
    GiveUp {
        frame: usize,
    },
    FinishPending,
}

fn op() -> impl Strategy<Value = Op> {
    let frame = 0..FRAMES;
    let entry = (frame.clone(), any::<bool>()).prop_map(|(frame, writable)| Entry { frame, writable });
    prop_oneof![
        8 => (frame.clone(), 0..SLOTS, proptest::option::weighted(0.7, entry))
            .prop_map(|(table, at, new)| Op::Update { table, at, new }),
        5 => (frame.clone(), 1u8..=4).prop_map(|(frame, level)| Op::Pin { frame, level }),
        4 => frame.clone().prop_map(|frame| Op::Unpin { frame }),
        1 => frame.prop_map(|frame| Op::GiveUp { frame }),
        2 => Just(Op::FinishPending),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever a guest does, and wherever the hypervisor is interrupted.
    #[test]
    fn types_and_counts_agree_with_the_tables(
        ops in proptest::collection::vec((op(), prop_oneof![Just(u32::MAX), 1u32..6]), 1..120)
    ) {
        let machine = Machine::new();
        for (op, fuel) in ops {
            machine.fuel.set(fuel);
            match op {
                Op::Update { table, at, new } => drop(machine.update(table, at, new)),
                Op::Pin { frame, level } => drop(machine.pin(frame, Type::of_level(level).unwrap())),
                Op::Unpin { frame } => machine.unpin(frame),
                Op::GiveUp { frame } => machine.give_up(frame),
                Op::FinishPending => machine.finish_pending(),
            }
            machine.check_invariants()?;
        }
        // At the end everything can be taken apart again.
        machine.fuel.set(u32::MAX);
        machine.finish_pending();
        (0..FRAMES).for_each(|frame| machine.unpin(frame));
        (0..FRAMES).for_each(|frame| machine.give_up(frame));
        machine.finish_pending();
        machine.check_invariants()?;
        prop_assert!(machine.frames.iter().all(|f| f.freed.get()), "a frame is lost");
    }

    /// A change of use away from anything but `None` is always claimed, so that the flush comes before the first use.
    #[test]
    fn a_change_of_use_is_claimed(from in 1u8..=6, want in 1u8..=6, foreign: bool) {
        let typ = |n: u8| Type::ALL[n as usize];
        let idle = TypeWord((from as u64) << super::TYPE_SHIFT);
        let granted = matches!(idle.get(typ(want), foreign), super::Get::Granted(_));
        prop_assert_eq!(granted, from == want && typ(want) == Type::Writable);
    }
}

#[test]
fn an_interrupted_pin_goes_on_where_it_was() {
    let m = Machine::new();
    for at in 0..SLOTS {
        m.update(
            0,
            at,
            Some(Entry {
                frame: at + 1,
                writable: false,
            }),
        )
        .unwrap();
    }
    m.fuel.set(2);
    assert_eq!(m.pin(0, Type::L2), Err(Fail::Again));
    assert!(m.frames[0].word().is_parked());
    assert_eq!(m.frames[0].word().resume(), 2);
    // It is not writable meanwhile, unless what was done is undone.
    m.fuel.set(u32::MAX);
    assert_eq!(m.pin(0, Type::L2), Ok(()));
    assert!((1..=SLOTS).all(|n| m.frames[n].word().typ() == Type::L1 && m.frames[n].word().count() == 1));
}

#[test]
fn a_table_cannot_be_mapped_writable() {
    let m = Machine::new();
    m.update(
        0,
        0,
        Some(Entry {
            frame: 1,
            writable: true,
        }),
    )
    .unwrap();
    m.pin(0, Type::L1).unwrap();
    assert_eq!(m.pin(1, Type::L1), Err(Fail::Refused));
    m.update(
        0,
        0,
        Some(Entry {
            frame: 1,
            writable: false,
        }),
    )
    .unwrap();
    m.pin(1, Type::L1).unwrap();
    assert_eq!(
        m.update(
            0,
            1,
            Some(Entry {
                frame: 1,
                writable: true
            })
        ),
        Err(Fail::Refused)
    );
    assert_eq!(
        m.update(
            0,
            1,
            Some(Entry {
                frame: 0,
                writable: true
            })
        ),
        Err(Fail::Refused)
    );
}

#[test]
fn a_table_of_its_own_level_is_refused() {
    let m = Machine::new();
    m.update(
        0,
        0,
        Some(Entry {
            frame: 0,
            writable: false,
        }),
    )
    .unwrap();
    for level in 2..=4 {
        assert_eq!(
            m.pin(0, Type::of_level(level).unwrap()),
            Err(Fail::Refused),
            "level {level}"
        );
        m.check_invariants().unwrap();
    }
    // Read-only mappings of itself are what Linux has everywhere.
    assert_eq!(m.pin(0, Type::L1), Ok(()));
}

#[test]
fn shared_frames_never_become_tables() {
    let word = TypeWord::shared(Type::Writable);
    assert!(word.is_valid() && word.count() == 1);
    assert_eq!(word.get(Type::L1, false), super::Get::Mismatch);
    assert_eq!(
        TypeWord::shared(Type::None).get(Type::Writable, false),
        super::Get::Mismatch
    );
}
