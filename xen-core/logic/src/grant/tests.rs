//! Entries against granters that keep the protocol and granters that write what they like; mappings against a map.

use super::maptrack::{ByEntry, CHUNK, Lent, Mapping, Maptrack, Next};
use super::transfer::commit;
use super::{Active, Ask, What, v1, v2};
use core::cell::Cell;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::vec::Vec;
use xen_abi::*;

const MARKS: u16 = GTF_reading | GTF_writing;

const fn head(flags: u16, to: u16) -> u32 {
    flags as u32 | (to as u32) << 16
}

/// An entry of either version.
#[derive(Default)]
struct Entry {
    head: Cell<u32>,
    word: Cell<u32>,
    frame: Cell<u64>,
    status: Cell<u16>,
}

impl v1::Entry for Entry {
    fn head(&self) -> u32 {
        self.head.get()
    }
    fn exchange_head(&self, old: u32, new: u32) -> Result<(), u32> {
        match self.head.get() {
            now if now == old => {
                self.head.set(new);
                Ok(())
            }
            now => Err(now),
        }
    }
    fn clear_marks(&self, marks: u16) {
        self.head.set(self.head.get() & !(marks as u32));
    }
    fn frame(&self) -> u32 {
        self.frame.get() as u32
    }
}

impl v2::Entry for Entry {
    fn head(&self) -> u32 {
        self.head.get()
    }
    fn word(&self) -> u32 {
        self.word.get()
    }
    fn frame(&self) -> u64 {
        self.frame.get()
    }
    fn set_marks(&self, marks: u16) {
        self.status.set(self.status.get() | marks);
    }
    fn clear_marks(&self, marks: u16) {
        self.status.set(self.status.get() & !marks);
    }
}

const fn ask(grantee: u16, write: bool, copy: bool) -> Ask {
    Ask { grantee, write, copy }
}

fn entry(flags: u16, to: u16, word: u32, frame: u64) -> Entry {
    let entry = Entry::default();
    entry.head.set(head(flags, to));
    entry.word.set(word);
    entry.frame.set(frame);
    entry
}

#[test]
fn a_grant_is_for_its_grantee_and_its_right() {
    for version2 in [false, true] {
        let pin = |entry: &Entry, ask| match version2 {
            true => v2::pin(entry, &mut Active::IDLE.clone(), ask),
            false => v1::pin(entry, &mut Active::IDLE.clone(), ask),
        };
        let page = Ok(What::Page { frame: 9 });
        let plain = || entry(GTF_permit_access, 3, 0, 9);
        assert_eq!(pin(&plain(), ask(3, false, false)), page);
        assert_eq!(pin(&plain(), ask(3, true, true)), page);
        assert!(pin(&plain(), ask(4, false, false)).is_err());
        let readonly = || entry(GTF_permit_access | GTF_readonly, 3, 0, 9);
        assert_eq!(pin(&readonly(), ask(3, false, true)), page);
        assert!(pin(&readonly(), ask(3, true, true)).is_err());
        for flags in [
            GTF_invalid,
            GTF_accept_transfer,
            GTF_permit_access | GTF_sub_page,
            GTF_transitive,
        ] {
            assert!(pin(&entry(flags, 3, 0, 9), ask(3, false, false)).is_err());
        }
    }
}

#[test]
fn parts_and_others_are_for_copies() {
    let mut active = Active::IDLE;
    let part = entry(GTF_permit_access | GTF_sub_page, 3, 128 | 64 << 16, 9);
    let what = v2::pin(&part, &mut active, ask(3, false, true)).unwrap();
    assert_eq!(
        what,
        What::Part {
            frame: 9,
            offset: 128,
            length: 64
        }
    );
    // While it is in use as a part, it is not mapped, whatever the granter makes of it.
    part.head.set(head(GTF_permit_access, 3));
    assert!(v2::pin(&part, &mut active, ask(3, false, false)).is_err());
    let other = entry(GTF_transitive, 3, 5, 77);
    let what = v2::pin(&other, &mut Active::IDLE.clone(), ask(3, true, true)).unwrap();
    assert_eq!(what, What::Other { domain: 5, gref: 77 });
    // Version 1 knows neither.
    assert!(v1::pin(&other, &mut Active::IDLE.clone(), ask(3, true, true)).is_err());
}

#[test]
fn a_frame_that_no_machine_has_is_not_cut_short() {
    let far = entry(GTF_permit_access, 3, 0, (1 << 32) + 9);
    let what = v2::pin(&far, &mut Active::IDLE.clone(), ask(3, false, false)).unwrap();
    assert_eq!(what, What::Page { frame: u32::MAX });
}

#[test]
fn uses_are_counted_up_to_a_limit() {
    let page = entry(GTF_permit_access, 3, 0, 9);
    let mut active = Active::IDLE;
    for _ in 0..u16::MAX {
        v1::pin(&page, &mut active, ask(3, false, false)).unwrap();
    }
    assert!(v1::pin(&page, &mut active, ask(3, false, false)).is_err());
    assert!(v1::pin(&page, &mut active, ask(3, true, false)).is_ok());
    v1::unpin(&page, &mut active, true);
    (0..u16::MAX).for_each(|_| v1::unpin(&page, &mut active, false));
    assert!(active.is_idle() && page.head.get() == head(GTF_permit_access, 3));
}

#[derive(Clone, Debug)]
enum Op {
    /// The granter writes what it likes.
    Write(u16, u16, u64),
    /// The granter ends the grant as it should: if it is not in use.
    End,
    /// The granter grants anew, where it has ended the grant.
    Grant(u16, u16, u64),
    Pin(u16, bool, bool),
    /// The use of this number ends.
    Unpin(usize),
}

fn flags() -> impl Strategy<Value = u16> {
    prop::sample::select(std::vec![
        GTF_invalid,
        GTF_permit_access,
        GTF_permit_access | GTF_readonly,
        GTF_permit_access | GTF_sub_page,
        GTF_transitive,
        GTF_accept_transfer,
    ])
}

fn op(wild: bool) -> impl Strategy<Value = Op> {
    let write = (any::<u16>(), 0u16..3, 0u64..4).prop_map(|(f, to, frame)| Op::Write(f, to, frame));
    prop_oneof![
        if wild { 2 } else { 0 } => write,
        2 => Just(Op::End),
        3 => (flags(), 0u16..3, 0u64..4).prop_map(|(f, to, frame)| Op::Grant(f, to, frame)),
        5 => (0u16..3, any::<bool>(), any::<bool>()).prop_map(|(to, write, copy)| Op::Pin(to, write, copy)),
        4 => (0usize..8).prop_map(Op::Unpin),
    ]
}

struct Use {
    ask: Ask,
    what: What,
}

/// Runs `ops` on an entry and checks it after each step.
fn run(ops: Vec<Op>, version2: bool, wild: bool) -> Result<(), TestCaseError> {
    let (entry, mut active) = (Entry::default(), Active::IDLE);
    let mut open: Vec<Use> = Vec::new();
    for op in ops {
        match op {
            Op::Write(flags, to, frame) => {
                entry.head.set(head(flags, to));
                entry.frame.set(frame);
            }
            Op::End => {
                let marks = if version2 {
                    entry.status.get()
                } else {
                    entry.head.get() as u16
                };
                if marks & MARKS == 0 {
                    prop_assert!(wild || open.is_empty(), "ended while in use");
                    entry.head.set(0);
                }
            }
            Op::Grant(flags, to, frame) => {
                if entry.head.get() == 0 && open.is_empty() {
                    entry.frame.set(frame);
                    entry.head.set(head(flags, to));
                }
            }
            Op::Pin(grantee, write, copy) => {
                let ask = ask(grantee, write, copy);
                let permitted = entry.head.get();
                let pinned = match version2 {
                    true => v2::pin(&entry, &mut active, ask),
                    false => v1::pin(&entry, &mut active, ask),
                };
                let Ok(what) = pinned else { continue };
                prop_assert!(copy || what.is_page());
                if let Some(first) = open.first() {
                    prop_assert_eq!((first.ask.grantee, first.what), (grantee, what));
                } else {
                    prop_assert_eq!(permitted >> 16, grantee as u32);
                }
                if write && !open.iter().any(|u| u.ask.write) {
                    prop_assert_eq!(permitted as u16 & GTF_readonly, 0);
                }
                open.push(Use { ask, what });
            }
            Op::Unpin(which) => {
                if which < open.len() {
                    let write = open.swap_remove(which).ask.write;
                    match version2 {
                        true => v2::unpin(&entry, &mut active, write),
                        false => v1::unpin(&entry, &mut active, write),
                    }
                }
            }
        }
        let count = |write| open.iter().filter(|u| u.ask.write == write).count() as u16;
        prop_assert_eq!(
            (active.pins().readers, active.pins().writers),
            (count(false), count(true))
        );
        let marks = if version2 {
            entry.status.get()
        } else {
            entry.head.get() as u16 & MARKS
        };
        if version2 || !wild {
            prop_assert_eq!(marks, active.pins().marks());
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn marks_tell_a_granter_of_every_use(ops in prop::collection::vec(op(false), 0..80), version2: bool) {
        run(ops, version2, false)?;
    }

    #[test]
    fn a_wild_granter_changes_nothing_of_what_is_in_use(ops in prop::collection::vec(op(true), 0..80), version2: bool) {
        run(ops, version2, true)?;
    }

    #[test]
    fn a_page_is_promised_only_where_it_is_waited_for(flags in flags(), from in 0u16..3, giver in 0u16..3) {
        let entry = entry(flags, from, 0, 0);
        let promised = commit(giver, || entry.head.get(), |old, new| v1::Entry::exchange_head(&entry, old, new));
        prop_assert_eq!(promised, flags == GTF_accept_transfer && from == giver);
        let again = commit(giver, || entry.head.get(), |old, new| v1::Entry::exchange_head(&entry, old, new));
        prop_assert!(!again);
    }
}

/// What the model knows of a handle.
struct Model {
    gref: u32,
    host: bool,
    leaving: bool,
    device: bool,
}

#[derive(Clone, Debug)]
enum Step {
    /// Takes a handle and fills it, if `true`, or gives it back.
    Map(bool, bool, bool),
    /// Begins to end parts of a handle: its entry, its device use, by the right frame or not.
    Begin(u32, bool, bool, bool),
    /// Ends what was begun; the entry was taken away, or not.
    Finish(u32, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let handle = prop_oneof![0u32..6, Just(CHUNK - 1), Just(CHUNK), Just(u32::MAX)];
    prop_oneof![
        4 => (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(fill, host, device)| Step::Map(fill, host, device)),
        4 => (handle.clone(), any::<bool>(), any::<bool>(), prop::bool::weighted(0.9))
            .prop_map(|(h, host, device, right)| Step::Begin(h, host, device, right)),
        4 => (handle, any::<bool>()).prop_map(|(h, left)| Step::Finish(h, left)),
    ]
}

fn frame_of(gref: u32) -> u32 {
    gref + 1000
}

proptest! {
    /// Handles are never given twice, stand for what they were given for, and are free when both parts have ended.
    #[test]
    fn handles_agree_with_a_map(steps in prop::collection::vec(step(), 0..120)) {
        let mut track: Maptrack<(), u32> = Maptrack::new(2);
        let mut model: BTreeMap<u32, Model> = BTreeMap::new();
        for (gref, step) in (0u32..).zip(steps) {
            match step {
                Step::Map(fill, host, device) => {
                    let handle = track.reserve().unwrap();
                    prop_assert!(!model.contains_key(&handle));
                    let (host, device) = (host || !device, device);
                    if !fill {
                        prop_assert!(track.begin(handle, true, None).is_err());
                        prop_assert!(track.remove(handle).is_none());
                        continue;
                    }
                    let lent = Lent { granter: (), gref, write: gref % 2 == 0 };
                    let by_entry = host.then_some(ByEntry(gref % 3 == 0));
                    track.fill(handle, Mapping::new(lent, frame_of(gref), by_entry, device.then_some(gref)));
                    model.insert(handle, Model { gref, host, leaving: false, device });
                }
                Step::Begin(handle, host, device, right) => {
                    let frame = |m: &Model| frame_of(m.gref) as u64 + !right as u64;
                    let at = model.get(&handle).filter(|_| device).map(frame);
                    let begun = track.begin(handle, host, at);
                    let Some(m) = model.get_mut(&handle).filter(|m| !m.leaving && (right || !device)) else {
                        prop_assert!(begun.is_err());
                        continue;
                    };
                    let (leaving, held) = begun.unwrap();
                    prop_assert_eq!(leaving.is_some(), host && m.host);
                    if let Some(leaving) = leaving {
                        prop_assert_eq!((leaving.frame, leaving.write), (frame_of(m.gref), m.gref % 2 == 0));
                        m.leaving = true;
                    }
                    prop_assert_eq!(held, (device && m.device).then_some(m.gref));
                    m.device &= !device;
                }
                Step::Finish(handle, left) => {
                    let over = track.finish(handle, left);
                    let Some(m) = model.get_mut(&handle) else {
                        prop_assert!(over.is_none());
                        continue;
                    };
                    if m.leaving {
                        (m.leaving, m.host) = (false, !left);
                    }
                    let gone = !m.host && !m.device;
                    prop_assert_eq!(over.map(|o| o.lent().gref), gone.then_some(m.gref));
                    if gone {
                        model.remove(&handle);
                    }
                }
            }
            prop_assert_eq!(track.used() as usize, model.len());
        }
        let mut from = 0;
        loop {
            match track.next(from, 7) {
                Next::Found(handle, mapping) => {
                    prop_assert_eq!(model.remove(&handle).map(|m| m.gref), Some(mapping.lent().gref));
                    from = handle + 1;
                }
                Next::Later(handle) => from = handle,
                Next::End => break,
            }
        }
        prop_assert!(model.is_empty());
    }
}

#[test]
fn handles_end_at_the_limit() {
    let mut track: Maptrack<(), ()> = Maptrack::new(2);
    let handles: Vec<u32> = core::iter::from_fn(|| track.reserve().ok()).collect();
    assert_eq!(handles, (0..2 * CHUNK).collect::<Vec<_>>());
    assert_eq!(track.reserve(), Err(GNTST_no_device_space));
    track.remove(300);
    assert_eq!(track.reserve(), Ok(300));
    assert_eq!(Maptrack::<(), ()>::new(0).reserve(), Err(GNTST_no_device_space));
}
