//! Grant tables: how a domain lends its pages to others. Version 1 of the entries only, which Linux takes for PV.
//!
//! Using a grant *pins* it: the entry is marked, and as long as it is pinned its frame is the one found at the first
//! pin, whatever the granter writes into the entry. What is mapped or copied is then looked up like any other frame
//! of the granter's, by its owner and type, so a grant gives no more than the granter itself could map.
//!
//! Locks: a domain's table and a domain's mappings are leaves, never held together.

mod copy;
mod map;

pub use copy::copy;
pub use map::{map, unmap};

use crate::domain::Domain;
use crate::mm;
use crate::mm::frame::Mfn;
use crate::mm::layout::PAGE_SIZE;
use crate::sync::Mutex;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::sync::atomic::AtomicU32;
use core::sync::atomic::Ordering::{AcqRel, Acquire};
use map::Mapping;
use xen_abi::*;
use xen_logic::grant::{self, Pins};

/// Most frames of a domain's table, as Xen's default: 64 frames of 512 entries.
pub const MAX_FRAMES: usize = 64;
/// Entries in a frame.
const PER_FRAME: u32 = (PAGE_SIZE / 8) as u32;
/// How often an entry that the granter changes all the time is looked at.
const TRIES: u32 = 16;

/// A domain's grants: those it gives, and its mappings of others'.
pub struct DomainGrants {
    table: Mutex<Table>,
    mappings: Mutex<Vec<Option<Mapping>>>,
}

struct Table {
    /// The frames that the guest has set up; they are never taken back while the domain lives.
    frames: Vec<Mfn>,
    /// Entries in use.
    pinned: BTreeMap<grant_ref_t, Pinned>,
}

/// An entry in use.
struct Pinned {
    grantee: domid_t,
    mfn: Mfn,
    pins: Pins,
}

impl Default for DomainGrants {
    fn default() -> Self {
        Self::new()
    }
}

impl DomainGrants {
    /// An empty table, no mappings.
    pub const fn new() -> Self {
        Self {
            table: Mutex::new(Table {
                frames: Vec::new(),
                pinned: BTreeMap::new(),
            }),
            mappings: Mutex::new(Vec::new()),
        }
    }

    /// How many frames the table has.
    pub fn frame_count(&self) -> usize {
        self.table.lock().frames.len()
    }

    /// Grows the table to `count` frames, if it is smaller, and answers the first `count` of them.
    ///
    /// # Errors
    /// `EINVAL` beyond the limit, `ENOMEM`.
    pub fn set_up(&self, domain: &Domain, count: usize) -> Result<Vec<Mfn>, Errno> {
        if count > MAX_FRAMES {
            return Err(Errno::EINVAL);
        }
        let mut table = self.table.lock();
        while table.frames.len() < count {
            let frame = mm::alloc::alloc_shared_page(domain).ok_or(Errno::ENOMEM)?;
            table.frames.push(frame);
        }
        Ok(table.frames[..count].to_vec())
    }

    /// Begins a use of entry `gref` by domain `grantee`; answers the frame.
    ///
    /// # Errors
    /// `GNTST_bad_gntref` for no such entry, `GNTST_general_error` where it does not grant this.
    fn pin(&self, gref: grant_ref_t, grantee: domid_t, write: bool) -> Result<Mfn, i16> {
        let mut table = self.table.lock();
        let [word, frame] = table.entry(gref).ok_or(GNTST_bad_gntref)?;
        if let Some(pinned) = table.pinned.get_mut(&gref) {
            if pinned.grantee != grantee {
                return Err(GNTST_general_error);
            }
            let more = pinned.pins.add(write).ok_or(GNTST_general_error)?;
            change(word, |old| grant::claim(old, grantee, write))?;
            pinned.pins = more;
            return Ok(pinned.mfn);
        }
        change(word, |old| grant::claim(old, grantee, write))?;
        // Once the mark is set the granter may not change the frame any more; before, it may.
        let mfn = Mfn(frame.load(Acquire).into());
        let pins = Pins::default().add(write).unwrap_or_default();
        table.pinned.insert(gref, Pinned { grantee, mfn, pins });
        Ok(mfn)
    }

    /// Ends a use that [`Self::pin`] began.
    fn unpin(&self, gref: grant_ref_t, write: bool) {
        let mut table = self.table.lock();
        let entry = table.entry(gref);
        let Some(pinned) = table.pinned.get_mut(&gref) else {
            return;
        };
        pinned.pins = pinned.pins.remove(write);
        let left = pinned.pins;
        if left.is_none() {
            table.pinned.remove(&gref);
        }
        if let Some([word, _]) = entry {
            // The word may be anything by now; only the marks are taken off.
            word.fetch_and(grant::release(u32::MAX, left), AcqRel);
        }
    }
}

impl Table {
    /// The two words of entry `gref`.
    fn entry(&self, gref: grant_ref_t) -> Option<[&'static AtomicU32; 2]> {
        let mfn = *self.frames.get((gref / PER_FRAME) as usize)?;
        let at = mm::directmap(mfn.maddr()).cast::<[AtomicU32; 2]>();
        // SAFETY: a grant frame lives as long as its domain, which the caller holds. The guest writes it too, so it is
        // only accessed by atomics. The index is below the entries of a frame.
        let entry = unsafe { &*at.add((gref % PER_FRAME) as usize) };
        Some([&entry[0], &entry[1]])
    }
}

/// Changes an entry's word by a rule, against a granter that may change it meanwhile.
fn change(word: &AtomicU32, rule: impl Fn(u32) -> Result<u32, i16>) -> Result<(), i16> {
    let mut old = word.load(Acquire);
    for _ in 0..TRIES {
        match word.compare_exchange(old, rule(old)?, AcqRel, Acquire) {
            Ok(_) => return Ok(()),
            Err(now) => old = now,
        }
    }
    Err(GNTST_general_error)
}
