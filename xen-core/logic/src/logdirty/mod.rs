//! Which pages of a paravirtual guest were written: what live migration asks for, round by round.
//!
//! While a domain is tracked its CPUs do not run on its own page tables but on *shadows* of them: copies, made entry by
//! entry as the guest touches its memory, in which a page of the domain's may be written only after it was marked. The
//! guest's tables are left as they are, since the guest reads them; the accessed and dirty bits that the CPU would have
//! set in them are set here.
//!
//! **Shadows give no right of their own.** A shadow entry is made from a guest's entry that is in a checked table, and
//! goes before what that entry held is dropped: whoever changes an entry says [`Tracker::entry_changed`] between the
//! exchange and the drop, and whoever undoes a table says [`Tracker::table_gone`] before its entries are dropped. All
//! of this happens under one lock, and so does [`Tracker::fault`], from its look at the guest's top table to its last
//! store. So as long as the lock is held, every table that can be reached from a top table in use is checked and
//! stays so, and when an entry's holds are dropped no shadow has it any more. What CPUs remember of it is flushed by
//! the rules that hold without shadows.
//!
//! **A page that may be written without a mark is marked in the present round.** That is the invariant which makes a
//! round complete. A round ends in this order: marks are taken and cleared, word by word ([`Tracker::take`]); then all
//! rights to write are taken out of the shadows ([`Tracker::revoke`]) and the CPUs flushed; then whoever else may go on
//! writing without a mark (the hypervisor itself, mappings in other domains' tables) is marked again; then the toolstack
//! is told. A page written before that was marked in the old round, and is copied afterwards; a page written later is
//! marked in the new one.

mod map;
#[cfg(all(test, not(loom)))]
mod tests;

use crate::pte::{self, ACCESSED, DIRTY, FRAME, NX, Pte, RW};
use alloc::boxed::Box;
use alloc::vec::Vec;
use map::ShadowMap;

/// Words in a page of marks; the unit in which marks are taken.
pub const WORDS: usize = 512;
/// Guest pages that a page of marks is for.
pub const PAGES_PER_LEAF: u64 = WORDS as u64 * 64;
/// Shadows that one fault may need, besides the top table's.
const PER_FAULT: usize = 3;

/// The machine, as far as shadows need it. Frames are numbered.
pub trait Machine {
    /// The entry of a page table, the guest's or a shadow.
    fn read(&self, table: u32, index: usize) -> u64;
    /// Stores `new` in a guest's entry, if that is still `old`.
    fn exchange(&self, table: u32, index: usize, old: u64, new: u64) -> bool;
    /// Stores an entry of a shadow.
    fn write(&self, shadow: u32, index: usize, value: u64);
    /// Is the frame in use by the domain as a page table of this level?
    fn is_table(&self, frame: u32, level: u8) -> bool;
    /// The guest's number of a frame that is the domain's own memory; `None` for all others.
    fn pfn(&self, frame: u64) -> Option<u64>;
    /// A frame for a shadow; its contents may be anything.
    fn allocate(&mut self) -> Option<u32>;
    /// Takes a frame back that no CPU remembers.
    fn free(&mut self, frame: u32);
    /// Makes all CPUs forget what they remember of the domain's translations.
    fn flush(&mut self);
}

/// What an instruction wanted to do at an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Access {
    /// It writes.
    pub write: bool,
    /// It is being fetched.
    pub fetch: bool,
}

/// What a page fault came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The shadows allow it now: the instruction is executed again.
    Resolved,
    /// The guest's own tables do not allow it; `present` where they map the address.
    Guest {
        /// Does the guest map the address?
        present: bool,
    },
    /// There was no memory for the shadows.
    NoMemory,
}

/// There is not enough memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoMemory;

/// A domain's marks and shadows. The caller serialises access.
pub struct Tracker {
    /// Marks by guest page number.
    marks: Vec<Box<[u64; WORDS]>>,
    /// A page beyond `marks` was marked, or marks were lost on their way: whoever asks next gets everything.
    shadows: ShadowMap,
    /// Frames for shadows that no CPU remembers.
    free: Vec<u32>,
    /// Frames of shadows that are gone, and that a CPU may remember until the next flush.
    parted: Vec<u32>,
    /// A page that has no mark was written.
    overflow: bool,
    faults: u32,
}

impl Tracker {
    /// No marks and no shadows, for pages below `pages` and at most `shadows` shadows, `reserved` of which have their
    /// frames at once.
    ///
    /// # Errors
    /// `NoMemory`; nothing is left behind.
    pub fn new(m: &mut impl Machine, pages: u64, shadows: usize, reserved: usize) -> Result<Self, NoMemory> {
        let leaves = usize::try_from(pages.div_ceil(PAGES_PER_LEAF)).map_err(|_| NoMemory)?;
        let mut tracker = Self {
            marks: vec_of(leaves)?,
            shadows: ShadowMap::new(shadows).ok_or(NoMemory)?,
            free: vec_of(shadows)?,
            parted: vec_of(shadows)?,
            overflow: false,
            faults: 0,
        };
        for _ in 0..leaves {
            let leaf = empty_leaf()?;
            tracker.marks.push(leaf);
        }
        while tracker.free.len() < reserved.min(shadows) {
            match m.allocate() {
                Some(frame) => tracker.free.push(frame),
                None => {
                    tracker.free.drain(..).for_each(|frame| m.free(frame));
                    return Err(NoMemory);
                }
            }
        }
        Ok(tracker)
    }

    /// Gives all frames back; no CPU uses a shadow any more, and none remembers one.
    pub fn dismantle(&mut self, m: &mut impl Machine) {
        let Self {
            shadows, free, parted, ..
        } = self;
        shadows.clear(|shadow| m.free(shadow));
        free.drain(..).chain(parted.drain(..)).for_each(|frame| m.free(frame));
    }

    /// Frames that it has.
    pub fn frames(&self) -> usize {
        self.shadows.len() + self.free.len() + self.parted.len()
    }

    /// Faults that were resolved since this was last asked.
    pub fn take_faults(&mut self) -> u32 {
        core::mem::take(&mut self.faults)
    }

    /// Pages that have marks.
    pub fn pages(&self) -> u64 {
        self.marks.len() as u64 * PAGES_PER_LEAF
    }

    // --- marks ---

    /// Marks a guest page.
    pub fn mark_page(&mut self, pfn: u64) {
        match self.marks.get_mut((pfn / PAGES_PER_LEAF) as usize) {
            Some(leaf) => leaf[(pfn / 64) as usize % WORDS] |= 1 << (pfn % 64),
            None => self.overflow = true,
        }
    }

    /// Marks the page in a frame, if that is the domain's own memory.
    pub fn mark(&mut self, m: &impl Machine, frame: u64) {
        if let Some(pfn) = m.pfn(frame) {
            self.mark_page(pfn);
        }
    }

    /// Is a guest page marked in this round?
    pub fn is_marked(&self, pfn: u64) -> bool {
        self.marks
            .get((pfn / PAGES_PER_LEAF) as usize)
            .is_some_and(|leaf| leaf[(pfn / 64) as usize % WORDS] & 1 << (pfn % 64) != 0)
    }

    /// Was a page written that there is no mark for? Then no round is complete any more.
    pub fn has_overflown(&self) -> bool {
        self.overflow
    }

    /// A page of marks; zeros beyond the last one.
    pub fn peek(&self, leaf: usize) -> [u64; WORDS] {
        self.marks.get(leaf).map_or([0; WORDS], |leaf| **leaf)
    }

    /// As [`Self::peek`], and clears them: the first step of a round's end.
    pub fn take(&mut self, leaf: usize) -> [u64; WORDS] {
        self.marks
            .get_mut(leaf)
            .map_or([0; WORDS], |leaf| core::mem::replace(leaf, [0; WORDS]))
    }

    /// Marks everything: a round's end was broken off, and what was taken did not arrive.
    pub fn mark_all(&mut self) {
        self.marks.iter_mut().for_each(|leaf| leaf.fill(u64::MAX));
    }

    // --- shadows ---

    /// Begins a use of the top table `table` by a vcpu: its shadow, with the hypervisor's slots as they are in it.
    ///
    /// # Errors
    /// `NoMemory`.
    pub fn use_root(&mut self, m: &mut impl Machine, table: u32) -> Result<u32, NoMemory> {
        let known = self.shadows.find(table);
        let slot = match known {
            Some(slot) => slot,
            None => {
                self.reserve(m, 1)?;
                self.add(m, table, 4)?
            }
        };
        let shadow = self.shadows.shadow(slot);
        for index in (0..512).filter(|index| !pte::is_guest_l4_slot(*index)) {
            m.write(shadow, index, m.read(table, index));
        }
        self.shadows.change_users(slot, true);
        Ok(shadow)
    }

    /// Ends a use that [`Self::use_root`] began.
    pub fn leave_root(&mut self, table: u32) {
        if let Some(slot) = self.shadows.find(table) {
            self.shadows.change_users(slot, false);
        }
    }

    /// An entry of a table of the domain's has changed: between the exchange and the drop of what it held.
    pub fn entry_changed(&mut self, m: &impl Machine, table: u32, index: usize) {
        self.mark(m, table.into());
        if let Some(slot) = self.shadows.find(table)
            && (self.shadows.level(slot) != 4 || pte::is_guest_l4_slot(index))
        {
            m.write(self.shadows.shadow(slot), index, 0);
        }
    }

    /// A table of the domain's is being undone: before what its entries hold is dropped. No vcpu uses it.
    pub fn table_gone(&mut self, m: &impl Machine, table: u32) {
        self.mark(m, table.into());
        if let Some(slot) = self.shadows.find(table) {
            let shadow = self.shadows.remove(slot);
            (0..512).for_each(|index| m.write(shadow, index, 0));
            self.parted.push(shadow);
        }
    }

    /// A vcpu that runs on `root` has met a page fault at `va`, which is not in the hypervisor's slots.
    pub fn fault(&mut self, m: &mut impl Machine, root: u32, va: u64, access: Access) -> Fault {
        if self.reserve(m, PER_FAULT).is_err() {
            return Fault::NoMemory;
        }
        let path = match self.walk(m, root, va, access) {
            Ok(path) => path,
            Err(present) => return Fault::Guest { present },
        };
        self.faults = self.faults.saturating_add(1);
        match self.link(m, &path, va, access) {
            Ok(()) => Fault::Resolved,
            Err(NoMemory) => Fault::NoMemory,
        }
    }

    /// Goes through the guest's tables as the CPU would, and sets the bits that it would set. Where the guest does not
    /// allow it: does it map the address?
    fn walk(&mut self, m: &impl Machine, root: u32, va: u64, access: Access) -> Result<Path, bool> {
        loop {
            let path = Path::find(m, root, va).ok_or(false)?;
            let entries = &path.entries;
            let writable = entries.iter().all(|e| e.is_writable());
            let executable = entries.iter().all(|e| e.0 & NX == 0);
            if access.write && !writable || access.fetch && !executable {
                return Err(true);
            }
            if let Some(path) = self.set_used(m, path, va, access.write) {
                return Ok(path);
            }
            // Another vcpu has changed an entry.
        }
    }

    /// Sets accessed and dirty bits in the guest's entries; `None` where one has changed meanwhile.
    fn set_used(&mut self, m: &impl Machine, mut path: Path, va: u64, write: bool) -> Option<Path> {
        for level in (1..=4u8).rev() {
            let (table, entry) = (path.tables[level as usize - 1], &mut path.entries[level as usize - 1]);
            let dirty = if level == 1 && write { DIRTY } else { 0 };
            let used = Pte(entry.0 | ACCESSED | dirty);
            if used != *entry {
                if !m.exchange(table, pte::index(va, level), entry.0, used.0) {
                    return None;
                }
                *entry = used;
                self.mark(m, table.into());
            }
        }
        Some(path)
    }

    /// Puts the way to the page into the shadows. Frames for it are there.
    fn link(&mut self, m: &mut impl Machine, path: &Path, va: u64, access: Access) -> Result<(), NoMemory> {
        let root = self.shadows.find(path.tables[3]).ok_or(NoMemory)?;
        let mut shadow = self.shadows.shadow(root);
        for level in [4, 3, 2u8] {
            let table = path.tables[level as usize - 2];
            let slot = match self.shadows.find(table) {
                Some(slot) => slot,
                None => self.add(m, table, level - 1)?,
            };
            let child = self.shadows.shadow(slot);
            let wanted = path.entries[level as usize - 1].0 & !FRAME | u64::from(child) << 12;
            let index = pte::index(va, level);
            if m.read(shadow, index) != wanted {
                m.write(shadow, index, wanted);
            }
            shadow = child;
        }
        let entry = path.entries[0];
        let stored = if entry.is_writable() && !self.may_write(m, entry, access.write) {
            entry.read_only()
        } else {
            entry
        };
        m.write(shadow, pte::index(va, 1), stored.0 | ACCESSED | DIRTY);
        Ok(())
    }

    /// May a writable entry be writable in the shadow, too? If it is about to be written it is marked.
    fn may_write(&mut self, m: &impl Machine, entry: Pte, now: bool) -> bool {
        let Some(pfn) = m.pfn(entry.mfn()) else {
            return true;
        };
        if now {
            self.mark_page(pfn);
            return true;
        }
        // The next write must not have to set the dirty bit, nor a mark.
        entry.0 & DIRTY != 0 && self.is_marked(pfn)
    }

    /// Takes the right to write out of the shadows from number `first` on, of `count` of them; `None` when those were
    /// the last. Shadows that are made meanwhile need not be looked at: the round's marks are taken by now.
    pub fn revoke(&mut self, m: &impl Machine, first: usize, count: usize) -> Option<usize> {
        let end = first.saturating_add(count).min(self.shadows.slots());
        for slot in (first..end).filter(|slot| self.shadows.is_level_1(*slot)) {
            let shadow = self.shadows.shadow(slot);
            for index in 0..512 {
                let entry = m.read(shadow, index);
                if entry & RW != 0 {
                    m.write(shadow, index, entry & !RW);
                }
            }
        }
        (end < self.shadows.slots()).then_some(end)
    }

    /// Makes a shadow of a table that has none: with a frame that is there, and nothing in it.
    fn add(&mut self, m: &mut impl Machine, table: u32, level: u8) -> Result<usize, NoMemory> {
        let shadow = self.free.pop().ok_or(NoMemory)?;
        (0..512).for_each(|index| m.write(shadow, index, 0));
        match self.shadows.insert(table, shadow, level) {
            Some(slot) => Ok(slot),
            None => {
                self.free.push(shadow);
                Err(NoMemory)
            }
        }
    }

    /// Sees to it that there are frames and places for `count` shadows more.
    fn reserve(&mut self, m: &mut impl Machine, count: usize) -> Result<(), NoMemory> {
        let fits = |t: &Self| t.free.len() >= count && t.shadows.room() >= count;
        while !fits(self) && self.frames() < self.shadows.slots() {
            match m.allocate() {
                Some(frame) => self.free.push(frame),
                None => break,
            }
        }
        if !fits(self) && !self.parted.is_empty() && self.shadows.room() >= count {
            self.settle(m);
        }
        if !fits(self) {
            self.forget_all(m);
        }
        if fits(self) { Ok(()) } else { Err(NoMemory) }
    }

    /// Makes the frames of gone shadows usable again.
    fn settle(&mut self, m: &mut impl Machine) {
        m.flush();
        let Self { free, parted, .. } = self;
        free.append(parted);
    }

    /// Gives up all shadows but those of top tables in use, which are emptied.
    fn forget_all(&mut self, m: &mut impl Machine) {
        let Self { shadows, parted, .. } = self;
        shadows.retain(|shadow, users| {
            if users == 0 {
                parted.push(shadow);
                return false;
            }
            let guests = (0..512).filter(|index| pte::is_guest_l4_slot(*index));
            guests.for_each(|index| m.write(shadow, index, 0));
            true
        });
        self.settle(m);
    }
}

/// The way through a guest's tables to a page: tables and entries by level, the lowest first.
struct Path {
    tables: [u32; 4],
    entries: [Pte; 4],
}

impl Path {
    fn find(m: &impl Machine, root: u32, va: u64) -> Option<Self> {
        let mut path = Self {
            tables: [0; 4],
            entries: [Pte(0); 4],
        };
        let mut table = root;
        for level in (1..=4u8).rev() {
            let entry = Pte(m.read(table, pte::index(va, level)));
            path.tables[level as usize - 1] = table;
            path.entries[level as usize - 1] = entry;
            if !entry.is_present() {
                return None;
            }
            if level > 1 {
                table = u32::try_from(entry.mfn()).ok().filter(|t| m.is_table(*t, level - 1))?;
            }
        }
        Some(path)
    }
}

fn vec_of<T>(room: usize) -> Result<Vec<T>, NoMemory> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(room).map_err(|_| NoMemory)?;
    Ok(vec)
}

fn empty_leaf() -> Result<Box<[u64; WORDS]>, NoMemory> {
    let mut words: Vec<u64> = vec_of(WORDS)?;
    words.resize(WORDS, 0);
    words.into_boxed_slice().try_into().map_err(|_| NoMemory)
}
