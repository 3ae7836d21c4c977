//! A domain's table: its frames, and what is in use of it.

use super::DomainGrants;
use super::entry::{EntryV1, EntryV2, PER_FRAME_1, PER_FRAME_2, STATUS_PER_FRAME};
use crate::domain::Domain;
use crate::mm::alloc::{alloc_shared_page, unshare};
use crate::mm::frame::Mfn;
use alloc::vec::Vec;
use xen_abi::*;
use xen_logic::grant::{Active, Ask, What, v1, v2};

/// A domain's table.
pub(super) struct Table {
    version: u32,
    /// The frames of entries. They are given up at the domain's end only.
    frames: Vec<Mfn>,
    /// The frames of status words of version 2; they stay when version 1 is chosen again.
    status: Vec<Mfn>,
    /// The uses of entries: by frame, as many as a frame of version 1 has entries.
    active: Vec<Vec<Active>>,
    /// Entries in use, but for the reserved ones.
    busy: u32,
}

/// How many status frames go with `frames` frames of entries.
pub(super) const fn status_count(frames: usize) -> usize {
    (frames * PER_FRAME_2 as usize).div_ceil(STATUS_PER_FRAME as usize)
}

/// How many frames of entries make `status` status frames.
pub(super) const fn frames_for_status(status: u64) -> u64 {
    status.saturating_mul((STATUS_PER_FRAME / PER_FRAME_2) as u64)
}

/// An entry with its uses.
pub(super) enum Entry<'a> {
    /// Of version 1.
    V1(EntryV1<'a>, &'a mut Active),
    /// Of version 2.
    V2(EntryV2<'a>, &'a mut Active),
    /// Nothing: version 2 has no such entry, or the domain has given up the frame, and only the uses are left.
    Gone(&'a mut Active),
}

impl Table {
    /// No frames.
    pub(super) const fn new() -> Self {
        Table {
            version: 1,
            frames: Vec::new(),
            status: Vec::new(),
            active: Vec::new(),
            busy: 0,
        }
    }

    pub(super) const fn version(&self) -> u32 {
        self.version
    }

    pub(super) fn set_version(&mut self, version: u32) {
        self.version = version;
    }

    pub(super) fn frames(&self) -> &[Mfn] {
        &self.frames
    }

    pub(super) fn status_frames(&self) -> &[Mfn] {
        &self.status
    }

    /// Is any entry in use, but for the reserved ones?
    pub(super) const fn is_busy(&self) -> bool {
        self.busy != 0
    }

    /// How many entries it has.
    pub(super) fn entries(&self) -> u32 {
        let per_frame = if self.version == 1 { PER_FRAME_1 } else { PER_FRAME_2 };
        self.frames.len() as u32 * per_frame
    }

    /// Grows to `count` frames, if there are fewer.
    ///
    /// # Errors
    /// `ENOMEM`; what was made until then stays.
    pub(super) fn grow(&mut self, domain: &Domain, count: usize) -> Result<(), Errno> {
        while self.frames.len() < count {
            let mut active = Vec::new();
            let entries = PER_FRAME_1 as usize;
            active.try_reserve_exact(entries).map_err(|_| Errno::ENOMEM)?;
            active.resize(entries, Active::IDLE);
            self.active.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            self.frames.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            if self.version == 2 {
                self.grow_status(domain, self.frames.len() + 1)?;
            }
            let frame = alloc_shared_page(domain).ok_or(Errno::ENOMEM)?;
            self.frames.push(frame);
            self.active.push(active);
        }
        Ok(())
    }

    /// Makes the status frames that go with `frames` frames of entries.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(super) fn grow_status(&mut self, domain: &Domain, frames: usize) -> Result<(), Errno> {
        while self.status.len() < status_count(frames) {
            self.status.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            self.status.push(alloc_shared_page(domain).ok_or(Errno::ENOMEM)?);
        }
        Ok(())
    }

    /// Entry `gref`.
    #[inline]
    pub(super) fn entry(&mut self, gref: grant_ref_t) -> Option<Entry<'_>> {
        let active = self
            .active
            .get_mut((gref / PER_FRAME_1) as usize)?
            .get_mut((gref % PER_FRAME_1) as usize)?;
        // There are uses for as many entries as version 1 has; version 2 has fewer, and a table at its end none.
        if self.version == 1 {
            match EntryV1::new(&self.frames, gref) {
                Some(entry) => Some(Entry::V1(entry, active)),
                None => Some(Entry::Gone(active)),
            }
        } else {
            match EntryV2::new(&self.frames, &self.status, gref) {
                Some(entry) => Some(Entry::V2(entry, active)),
                None => Some(Entry::Gone(active)),
            }
        }
    }

    /// The uses of entry `gref`.
    pub(super) fn active(&self, gref: grant_ref_t) -> Option<&Active> {
        self.active
            .get((gref / PER_FRAME_1) as usize)?
            .get((gref % PER_FRAME_1) as usize)
    }

    /// The frames that entries from `first` on, of `count` of them, lend for writing; the next entry, if there is one.
    fn each_written(&self, first: grant_ref_t, count: u32, mut f: impl FnMut(Mfn)) -> Option<grant_ref_t> {
        let all = self.active.len() as u32 * PER_FRAME_1;
        let end = first.saturating_add(count).min(all);
        for active in (first..end).filter_map(|gref| self.active(gref)) {
            if active.pins().writers != 0
                && let What::Page { frame } | What::Part { frame, .. } = active.what()
            {
                f(Mfn(frame.into()));
            }
        }
        (end < all).then_some(end)
    }

    /// Takes a frame out of the table, if there is one left. What others use of it goes on to be counted.
    pub(super) fn give_up_frame(&mut self) -> Option<Mfn> {
        self.status.pop().or_else(|| self.frames.pop())
    }
}

/// The entries that a new domain finds filled by the toolstack; their uses do not hinder a change of version.
const fn is_reserved(gref: grant_ref_t) -> bool {
    gref < GNTTAB_NR_RESERVED_ENTRIES
}

impl DomainGrants {
    /// Begins a use of entry `gref`; answers what it lends.
    ///
    /// # Errors
    /// `GNTST_bad_gntref` for no such entry, `GNTST_general_error` where it does not grant this.
    #[inline]
    pub(super) fn pin(&self, gref: grant_ref_t, ask: Ask) -> Result<What, i16> {
        let mut table = self.table.lock();
        let entry = table.entry(gref).ok_or(GNTST_bad_gntref)?;
        let (what, first) = match entry {
            Entry::V1(entry, active) => {
                let idle = active.is_idle();
                (v1::pin(&entry, active, ask)?, idle)
            }
            Entry::V2(entry, active) => {
                let idle = active.is_idle();
                (v2::pin(&entry, active, ask)?, idle)
            }
            Entry::Gone(_) => return Err(GNTST_bad_gntref),
        };
        if first && !is_reserved(gref) {
            table.busy += 1;
        }
        Ok(what)
    }

    /// Ends a use that [`Self::pin`] began.
    #[inline]
    pub(super) fn unpin(&self, gref: grant_ref_t, write: bool) {
        let mut table = self.table.lock();
        let last = match table.entry(gref) {
            Some(Entry::V1(entry, active)) => {
                v1::unpin(&entry, active, write);
                active.is_idle()
            }
            Some(Entry::V2(entry, active)) => {
                v2::unpin(&entry, active, write);
                active.is_idle()
            }
            Some(Entry::Gone(active)) => {
                active.end(write);
                active.is_idle()
            }
            None => return,
        };
        if last && !is_reserved(gref) {
            table.busy -= 1;
        }
    }
}

/// Calls `f` with the domain's frames that its grants from `first` on, of `count` of them, lend for writing at present;
/// answers the next one, if there is one.
pub fn each_written(domain: &Domain, first: grant_ref_t, count: u32, f: impl FnMut(Mfn)) -> Option<grant_ref_t> {
    domain.grants.table.lock().each_written(first, count, f)
}

impl Drop for Table {
    fn drop(&mut self) {
        // Empty at the end of every domain that was listed; not of one that could not be made.
        while let Some(frame) = self.give_up_frame() {
            unshare(frame);
        }
    }
}
