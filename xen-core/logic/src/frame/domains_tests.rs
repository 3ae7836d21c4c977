//! Several domains on several CPUs: whatever they map of each other's frames, give up, exchange and pin, and whenever
//! one of them ends, no CPU keeps a translation that has outlived what allowed it.
//!
//! The machine has a translation buffer for each CPU that forgets nothing by itself. Flushes are decided by the rules
//! that the hypervisor uses: stamps, epochs, the mark of foreign mappings, and the CPUs that a domain has been on.

use super::cells::{self, Acquired, Finish, Frame, Released, Word};
use super::tests::AtomicWord;
use super::{CountWord, Type, TypeWord};
use crate::flush_epoch;
use proptest::prelude::*;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

const FRAMES: usize = 5;
const DOMAINS: usize = 3;
const CPUS: usize = 3;
const SLOTS: usize = 4;
const NOBODY: usize = usize::MAX;

std::thread_local! {
    /// The number of full flushes, which stamps are taken from.
    static EPOCH: Cell<u64> = const { Cell::new(1) };
}

struct TestFrame {
    count: AtomicWord,
    typ: AtomicWord,
    stamp: Cell<u32>,
    owner: Cell<usize>,
    /// How often it has been handed out.
    life: Cell<u32>,
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
        self.stamp.set(EPOCH.get() as u32);
    }
    fn free(&self) {
        assert_ne!(self.owner.replace(NOBODY), NOBODY, "freed twice");
        self.typ.0.set(0);
        self.count.0.set(0);
    }
}

impl TestFrame {
    fn word(&self) -> TypeWord {
        TypeWord(self.typ.load())
    }
}

/// What a CPU remembers: a translation to a frame, or a walk through a table, of one life of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Remembered {
    Page { frame: usize, life: u32, writable: bool },
    Walk { frame: usize, life: u32 },
}

/// What a domain has in a slot of its tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Page { frame: usize, writable: bool },
    Table { frame: usize },
}

struct Machine {
    frames: Vec<TestFrame>,
    slots: RefCell<[[Option<Slot>; SLOTS]; DOMAINS]>,
    running: [Cell<usize>; CPUS],
    last: [Cell<u64>; CPUS],
    remembered: RefCell<[BTreeSet<Remembered>; CPUS]>,
    /// Flushes that were asked for; the fewer the better.
    flushes: Cell<u32>,
}

impl Machine {
    fn new() -> Self {
        EPOCH.set(1);
        let frame = |_| TestFrame {
            count: AtomicWord(Cell::new(0)),
            typ: AtomicWord(Cell::new(0)),
            stamp: Cell::new(0),
            owner: Cell::new(NOBODY),
            life: Cell::new(0),
        };
        Self {
            frames: (0..FRAMES).map(frame).collect(),
            slots: RefCell::new([[None; SLOTS]; DOMAINS]),
            running: [const { Cell::new(0) }; CPUS],
            last: [const { Cell::new(1) }; CPUS],
            remembered: RefCell::default(),
            flushes: Cell::new(0),
        }
    }

    /// The CPUs on which the domain's tables are loaded: its `dirty_cpus`.
    fn cpus_of(&self, domain: usize) -> impl Iterator<Item = usize> + '_ {
        (0..CPUS).filter(move |cpu| self.running[*cpu].get() == domain)
    }

    fn flush(&self, cpu: usize) {
        EPOCH.set(EPOCH.get() + 1);
        self.last[cpu].set(EPOCH.get());
        self.remembered.borrow_mut()[cpu].clear();
        self.flushes.set(self.flushes.get() + 1);
    }

    fn flush_stale(&self, stamp: u32, cpus: impl Iterator<Item = usize>) {
        cpus.filter(|cpu| flush_epoch::needs_flush(stamp, EPOCH.get(), self.last[*cpu].get()))
            .for_each(|cpu| self.flush(cpu));
    }

    /// `typing::acquire`.
    fn acquire(&self, frame: usize, want: Type, owner: usize, foreign: bool) -> bool {
        let f = &self.frames[frame];
        loop {
            match cells::get_type(f, want, foreign, || f.owner.get() == owner) {
                Acquired::Granted => return true,
                Acquired::Claimed { from, foreign, .. } => {
                    if from != want && from != Type::None {
                        match foreign {
                            true => self.flush_stale(f.stamp.get(), 0..CPUS),
                            false => self.flush_stale(f.stamp.get(), self.cpus_of(owner)),
                        }
                    }
                    cells::finish(f, Finish::Validated);
                    return true;
                }
                Acquired::Undo { .. } => cells::finish(f, Finish::Undone),
                Acquired::Wait => panic!("one CPU waits for itself"),
                Acquired::Refused(_) | Acquired::NotOwned => return false,
            }
        }
    }

    fn release(&self, frame: usize) {
        if let Released::Undo { .. } = cells::put_type(&self.frames[frame]) {
            cells::finish(&self.frames[frame], Finish::Undone);
        }
    }

    fn drop_slot(&self, slot: Option<Slot>) {
        match slot {
            Some(Slot::Page { frame, writable: false }) => cells::put_reference(&self.frames[frame]),
            Some(Slot::Page { frame, .. } | Slot::Table { frame }) => self.release(frame),
            None => {}
        }
    }

    /// A domain maps a frame that it says is `owner`'s; privilege or a grant allows it.
    fn map(&self, domain: usize, at: usize, frame: usize, owner: usize, writable: bool) {
        let f = &self.frames[frame];
        let held = match writable {
            true => self.acquire(frame, Type::Writable, owner, owner != domain),
            false => cells::get_reference_if(f, || f.owner.get() == owner),
        };
        if held {
            let old = self.slots.borrow_mut()[domain][at].replace(Slot::Page { frame, writable });
            self.drop_slot(old);
        }
    }

    /// A domain links a level-1 table, which is its own frame or refused.
    fn link(&self, domain: usize, at: usize, frame: usize) {
        if self.acquire(frame, Type::L1, domain, false) {
            let old = self.slots.borrow_mut()[domain][at].replace(Slot::Table { frame });
            self.drop_slot(old);
        }
    }

    fn unmap(&self, domain: usize, at: usize) {
        let old = self.slots.borrow_mut()[domain][at].take();
        self.drop_slot(old);
    }

    fn pin(&self, frame: usize, owner: usize) {
        if self.acquire(frame, Type::L1, owner, false) && !cells::pin(&self.frames[frame]) {
            self.release(frame);
        }
    }

    fn unpin(&self, frame: usize, owner: usize) {
        let f = &self.frames[frame];
        if cells::get_reference_if(f, || f.owner.get() == owner) {
            if cells::unpin(f) {
                self.release(frame);
            }
            cells::put_reference(f);
        }
    }

    fn give_up(&self, frame: usize, owner: usize) {
        let f = &self.frames[frame];
        if cells::get_reference_if(f, || f.owner.get() == owner) {
            cells::release_allocation(f);
            cells::put_reference(f);
        }
    }

    fn exchange(&self, frame: usize, owner: usize) {
        let f = &self.frames[frame];
        if f.owner.get() == owner && cells::steal(f) {
            f.free();
        }
    }

    /// `alloc_domain_pages`.
    fn allocate(&self, frame: usize, domain: usize) {
        let f = &self.frames[frame];
        if f.owner.get() == NOBODY {
            self.flush_stale(f.stamp.get(), 0..CPUS);
            f.life.set(f.life.get() + 1);
            f.owner.set(domain);
            f.typ.0.set(TypeWord::UNUSED.0);
            f.count.0.set(CountWord::ALLOCATED.0);
        }
    }

    /// The domain ends: its CPUs run Dom0 again, its tables go, and every frame of it is given up.
    fn end(&self, domain: usize) {
        let cpus: Vec<usize> = self.cpus_of(domain).collect();
        cpus.into_iter().for_each(|cpu| self.switch(cpu, 0));
        (0..SLOTS).for_each(|at| self.unmap(domain, at));
        for frame in 0..FRAMES {
            self.unpin(frame, domain);
            self.give_up(frame, domain);
        }
    }

    /// A CPU loads another domain's tables, and so forgets what it knows.
    fn switch(&self, cpu: usize, domain: usize) {
        if self.running[cpu].replace(domain) != domain {
            if self.last[cpu].get() == u64::MAX {
                self.last[cpu].set(EPOCH.get());
            }
            self.remembered.borrow_mut()[cpu].clear();
        }
    }

    /// A CPU has nothing to run, and loads the table without guests: nobody need ask it to flush.
    fn idle(&self, cpu: usize) {
        self.running[cpu].set(NOBODY);
        self.remembered.borrow_mut()[cpu].clear();
        self.last[cpu].set(u64::MAX);
    }

    /// A CPU uses what its domain has in a slot.
    fn touch(&self, cpu: usize, at: usize) {
        let life = |frame: usize| self.frames[frame].life.get();
        let slots = self.slots.borrow();
        let Some(slots) = slots.get(self.running[cpu].get()) else {
            return;
        };
        let remembered = match slots[at] {
            Some(Slot::Page { frame, writable }) => Remembered::Page {
                frame,
                life: life(frame),
                writable,
            },
            Some(Slot::Table { frame }) => Remembered::Walk {
                frame,
                life: life(frame),
            },
            None => return,
        };
        self.remembered.borrow_mut()[cpu].insert(remembered);
    }

    fn check_translations(&self) -> Result<(), TestCaseError> {
        for known in self.remembered.borrow().iter().flatten() {
            let (Remembered::Page { frame, life, .. } | Remembered::Walk { frame, life }) = *known;
            let f = &self.frames[frame];
            prop_assert_eq!(life, f.life.get(), "{:?} outlived its frame", known);
            let word = f.word();
            let in_use_as = |typ: Type| word.is_valid() && word.typ() == typ && f.owner.get() != NOBODY;
            match *known {
                Remembered::Page { writable: true, .. } => {
                    prop_assert!(!in_use_as(Type::L1), "a table can be written to");
                }
                Remembered::Walk { .. } => {
                    prop_assert!(!in_use_as(Type::Writable), "a walk leads through data: {:?}", word);
                }
                Remembered::Page { .. } => {}
            }
        }
        Ok(())
    }

    fn check_counts(&self) -> Result<(), TestCaseError> {
        let (mut uses, mut references) = ([0u64; FRAMES], [0u64; FRAMES]);
        for (domain, slots) in self.slots.borrow().iter().enumerate() {
            for slot in slots.iter().flatten() {
                match *slot {
                    Slot::Page { frame, writable: true } => uses[frame] += 1,
                    Slot::Page { frame, .. } => references[frame] += 1,
                    Slot::Table { frame } => {
                        uses[frame] += 1;
                        prop_assert_eq!(self.frames[frame].owner.get(), domain, "a table of another domain");
                    }
                }
            }
        }
        for (n, f) in self.frames.iter().enumerate() {
            let (word, count) = (f.word(), CountWord(f.count.load()));
            prop_assert_eq!(word.count(), uses[n] + u64::from(word.is_pinned()));
            let held = references[n] + u64::from(word.holds_reference()) + u64::from(count.is_allocated());
            prop_assert_eq!(count.count(), held);
            prop_assert_eq!(f.owner.get() == NOBODY, held == 0, "freed too early or never");
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Op {
    Map(usize, usize, usize, usize, bool),
    Link(usize, usize, usize),
    Unmap(usize, usize),
    Pin(usize, usize),
    Unpin(usize, usize),
    GiveUp(usize, usize),
    Exchange(usize, usize),
    Allocate(usize, usize),
    End(usize),
    Switch(usize, usize),
    Idle(usize),
    Touch(usize, usize),
    Flush(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let (frame, domain, cpu, slot) = (0..FRAMES, 0..DOMAINS, 0..CPUS, 0..SLOTS);
    let named = (frame.clone(), domain.clone());
    prop_oneof![
        8 => (domain.clone(), slot.clone(), frame.clone(), domain.clone(), any::<bool>())
            .prop_map(|(d, s, f, o, w)| Op::Map(d, s, f, o, w)),
        4 => (domain.clone(), slot.clone(), frame).prop_map(|(d, s, f)| Op::Link(d, s, f)),
        6 => (domain.clone(), slot.clone()).prop_map(|(d, s)| Op::Unmap(d, s)),
        3 => named.clone().prop_map(|(f, d)| Op::Pin(f, d)),
        3 => named.clone().prop_map(|(f, d)| Op::Unpin(f, d)),
        2 => named.clone().prop_map(|(f, d)| Op::GiveUp(f, d)),
        1 => named.clone().prop_map(|(f, d)| Op::Exchange(f, d)),
        5 => named.prop_map(|(f, d)| Op::Allocate(f, d)),
        1 => (1..DOMAINS).prop_map(Op::End),
        2 => (cpu.clone(), domain).prop_map(|(c, d)| Op::Switch(c, d)),
        1 => cpu.clone().prop_map(Op::Idle),
        10 => (cpu.clone(), slot).prop_map(|(c, s)| Op::Touch(c, s)),
        1 => cpu.prop_map(Op::Flush),
    ]
}

impl Machine {
    fn carry_out(&self, op: &Op) {
        match *op {
            Op::Map(domain, at, frame, owner, writable) => self.map(domain, at, frame, owner, writable),
            Op::Link(domain, at, frame) => self.link(domain, at, frame),
            Op::Unmap(domain, at) => self.unmap(domain, at),
            Op::Pin(frame, owner) => self.pin(frame, owner),
            Op::Unpin(frame, owner) => self.unpin(frame, owner),
            Op::GiveUp(frame, owner) => self.give_up(frame, owner),
            Op::Exchange(frame, owner) => self.exchange(frame, owner),
            Op::Allocate(frame, domain) => self.allocate(frame, domain),
            Op::End(domain) => self.end(domain),
            Op::Switch(cpu, domain) => self.switch(cpu, domain),
            Op::Idle(cpu) => self.idle(cpu),
            Op::Touch(cpu, at) => self.touch(cpu, at),
            Op::Flush(cpu) => self.flush(cpu),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, ..ProptestConfig::default() })]

    /// Whatever the domains do, on whatever CPUs.
    #[test]
    fn no_translation_outlives_its_right(ops in proptest::collection::vec(op(), 1..150)) {
        let machine = Machine::new();
        for op in &ops {
            machine.carry_out(op);
            machine.check_counts()?;
            machine.check_translations()?;
        }
        // All domains end: no frame is left behind, whoever had it mapped.
        (0..DOMAINS).rev().for_each(|domain| machine.end(domain));
        machine.check_counts()?;
        prop_assert!(machine.frames.iter().all(|f| f.owner.get() == NOBODY), "a frame is lost");
    }
}

/// A frame of a domain that has ended stays while another has it mapped, and is free afterwards.
#[test]
fn a_dead_domains_frame_waits_for_its_last_user() {
    let m = Machine::new();
    m.allocate(0, 1);
    m.map(0, 0, 0, 1, true);
    m.end(1);
    assert_eq!(m.frames[0].owner.get(), 1);
    // It is nobody's to be given out meanwhile.
    m.allocate(0, 2);
    assert_eq!(m.frames[0].owner.get(), 1);
    m.touch(0, 0);
    m.unmap(0, 0);
    assert_eq!(m.frames[0].owner.get(), NOBODY);
    m.allocate(0, 2);
    m.check_translations().unwrap();
}

/// What another domain has mapped writable is flushed on its CPUs too before it becomes a table.
#[test]
fn foreign_mappings_are_flushed_where_they_were() {
    let m = Machine::new();
    m.allocate(0, 1);
    m.map(0, 0, 0, 1, true);
    m.touch(2, 0);
    m.unmap(0, 0);
    assert_eq!(m.flushes.get(), 0);
    m.pin(0, 1);
    assert_eq!(m.frames[0].word().typ(), Type::L1);
    assert!(m.flushes.get() >= 1);
    m.check_translations().unwrap();
}
