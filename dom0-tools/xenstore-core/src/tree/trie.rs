//! A map from names to children that is cheap to copy: copies share what neither has changed.
//!
//! It serves nodes with many children. Names go by a keyed hash, so that no choice of names makes it slow.

use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::hash::Hasher;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use siphasher::sip::SipHasher13;

use super::Child;

/// The key of tries to come; see [`set_hash_key`].
static KEY: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Sets the key by which names of children are hashed in maps made from now on: random, so that nobody can choose names
/// that fall together. Where there is no randomness, a domain's quota of nodes bounds what that could cost.
pub fn set_hash_key(key: [u64; 2]) {
    KEY[0].store(key[0], Relaxed);
    KEY[1].store(key[1], Relaxed);
}

/// Bits of the hash that each level looks at.
const BITS: u32 = 4;
/// Entries of a leaf before it is split.
const LEAF: usize = 12;

#[derive(Clone)]
enum Slot {
    Leaf(Vec<Entry>),
    Branch([Option<Rc<Slot>>; 1 << BITS]),
}

#[derive(Clone)]
struct Entry {
    hash: u64,
    sequence: u64,
    child: Child,
}

/// The map; each entry remembers when it came, so that lists keep that order.
#[derive(Clone)]
pub(super) struct Trie {
    root: Rc<Slot>,
    key: [u64; 2],
    next_sequence: u64,
    count: usize,
}

impl Trie {
    pub(super) fn new() -> Trie {
        Trie {
            root: Rc::new(Slot::Leaf(Vec::new())),
            key: [KEY[0].load(Relaxed), KEY[1].load(Relaxed)],
            next_sequence: 0,
            count: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    fn hash(&self, name: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.key[0], self.key[1]);
        hasher.write(name);
        hasher.finish()
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<&Child> {
        let hash = self.hash(name);
        let mut slot = &*self.root;
        let mut shift = 0;
        loop {
            match slot {
                Slot::Leaf(entries) => return find(entries, hash, name).map(|at| &entries[at].child),
                Slot::Branch(slots) => slot = slots[digit(hash, shift)].as_deref()?,
            }
            shift += BITS;
        }
    }

    pub(super) fn get_mut(&mut self, name: &[u8]) -> Option<&mut Child> {
        let hash = self.hash(name);
        let mut slot = Rc::make_mut(&mut self.root);
        let mut shift = 0;
        loop {
            match slot {
                Slot::Leaf(entries) => {
                    let at = find(entries, hash, name)?;
                    return Some(&mut entries[at].child);
                }
                Slot::Branch(slots) => slot = Rc::make_mut(slots[digit(hash, shift)].as_mut()?),
            }
            shift += BITS;
        }
    }

    /// Adds a child whose name is not there yet.
    pub(super) fn insert(&mut self, child: Child) {
        let entry = Entry {
            hash: self.hash(&child.name),
            sequence: self.next_sequence,
            child,
        };
        self.next_sequence += 1;
        self.count += 1;
        insert_below(Rc::make_mut(&mut self.root), entry, 0);
    }

    pub(super) fn remove(&mut self, name: &[u8]) -> Option<Child> {
        let hash = self.hash(name);
        let mut slot = Rc::make_mut(&mut self.root);
        let mut shift = 0;
        loop {
            match slot {
                Slot::Leaf(entries) => {
                    let at = find(entries, hash, name)?;
                    self.count -= 1;
                    return Some(entries.swap_remove(at).child);
                }
                Slot::Branch(slots) => slot = Rc::make_mut(slots[digit(hash, shift)].as_mut()?),
            }
            shift += BITS;
        }
    }

    /// All children that no other map shares.
    pub(super) fn take_into(self, into: &mut Vec<Child>) {
        // No deeper than the hash has digits.
        take_slot(self.root, into);
    }

    /// All children in the order in which they came.
    pub(super) fn in_order(&self) -> Vec<&Child> {
        let mut entries = Vec::with_capacity(self.count);
        collect(&self.root, &mut entries);
        entries.sort_unstable_by_key(|entry| entry.sequence);
        entries.into_iter().map(|entry| &entry.child).collect()
    }
}

fn digit(hash: u64, shift: u32) -> usize {
    (hash >> shift) as usize % (1 << BITS)
}

fn find(entries: &[Entry], hash: u64, name: &[u8]) -> Option<usize> {
    entries
        .iter()
        .position(|entry| entry.hash == hash && *entry.child.name == *name)
}

fn insert_below(slot: &mut Slot, entry: Entry, shift: u32) {
    match slot {
        Slot::Branch(slots) => match &mut slots[digit(entry.hash, shift)] {
            Some(below) => insert_below(Rc::make_mut(below), entry, shift + BITS),
            empty => *empty = Some(Rc::new(Slot::Leaf(vec![entry]))),
        },
        // At the hash's end there is nothing left to split by.
        Slot::Leaf(entries) if entries.len() < LEAF || shift >= u64::BITS - BITS => entries.push(entry),
        Slot::Leaf(entries) => {
            let entries = core::mem::take(entries);
            *slot = Slot::Branch(Default::default());
            for moved in entries.into_iter().chain([entry]) {
                insert_below(slot, moved, shift);
            }
        }
    }
}

fn collect<'a>(slot: &'a Slot, into: &mut Vec<&'a Entry>) {
    match slot {
        Slot::Leaf(entries) => into.extend(entries),
        Slot::Branch(slots) => slots.iter().flatten().for_each(|below| collect(below, into)),
    }
}

fn take_slot(slot: Rc<Slot>, into: &mut Vec<Child>) {
    match Rc::into_inner(slot) {
        Some(Slot::Leaf(entries)) => into.extend(entries.into_iter().map(|entry| entry.child)),
        Some(Slot::Branch(slots)) => slots.into_iter().flatten().for_each(|below| take_slot(below, into)),
        None => {}
    }
}
