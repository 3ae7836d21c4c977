//! Choosing the version of a table.

use super::entry::{EntryV1, EntryV2};
use super::table::Table;
use crate::domain::Domain;
use crate::mm::directmap;
use crate::mm::frame::Mfn;
use crate::mm::layout::PAGE_SIZE;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use xen_abi::*;
use xen_logic::grant::{v1, v2};

/// Reserved entries: the toolstack has filled them, and they outlive a change of version.
const RESERVED: u32 = GNTTAB_NR_RESERVED_ENTRIES;

/// What both versions say of an entry that lends a page.
#[derive(Clone, Copy, Default)]
struct Kept {
    /// Flags and grantee, without marks.
    head: u32,
    frame: u32,
    marks: u16,
}

const MARKS: u16 = GTF_reading | GTF_writing;

/// Changes the version of the domain's table (`GNTTABOP_set_version`).
///
/// # Errors
/// `EINVAL` for no such version, `ENOSYS` for one that the domain may not have, `EBUSY` while entries are in use,
/// `ERANGE` for a reserved entry that the other version cannot hold, `ENOMEM`.
pub fn set_version(domain: &Domain, version: u32) -> Result<(), Errno> {
    if version != 1 && version != 2 {
        return Err(Errno::EINVAL);
    }
    let mut table = domain.grants.table.lock();
    if version == table.version() {
        return Ok(());
    }
    if version > domain.grants.max_version {
        return Err(Errno::ENOSYS);
    }
    if table.is_busy() {
        return Err(Errno::EBUSY);
    }
    let mut kept = [Kept::default(); RESERVED as usize];
    for (gref, slot) in (0..).zip(&mut kept) {
        *slot = keep(&table, gref)?;
    }
    if version == 2 {
        let frames = table.frames().len();
        table.grow_status(domain, frames)?;
    }
    table.frames().iter().for_each(|frame| clear(*frame));
    table.status_frames().iter().for_each(|frame| clear(*frame));
    table.set_version(version);
    for (gref, entry) in (0..).zip(kept) {
        restore(&table, gref, entry);
    }
    Ok(())
}

/// What entry `gref` says, if it lends a page; nothing otherwise.
fn keep(table: &Table, gref: u32) -> Result<Kept, Errno> {
    let (head, frame, marks) = if table.version() == 1 {
        let Some(entry) = EntryV1::new(table.frames(), gref) else {
            return Ok(Kept::default());
        };
        let head = v1::Entry::head(&entry);
        (head, v1::Entry::frame(&entry) as u64, head as u16 & MARKS)
    } else {
        let Some(entry) = EntryV2::new(table.frames(), table.status_frames(), gref) else {
            return Ok(Kept::default());
        };
        (v2::Entry::head(&entry), v2::Entry::frame(&entry), entry.status())
    };
    if head as u16 & GTF_type_mask != GTF_permit_access || head as u16 & GTF_sub_page != 0 {
        return Ok(Kept::default());
    }
    Ok(Kept {
        head: head & !(MARKS as u32),
        frame: u32::try_from(frame).map_err(|_| Errno::ERANGE)?,
        marks,
    })
}

fn restore(table: &Table, gref: u32, kept: Kept) {
    if table.version() == 1 {
        if let Some(entry) = EntryV1::new(table.frames(), gref) {
            entry.write(kept.head | kept.marks as u32, kept.frame);
        }
    } else if let Some(entry) = EntryV2::new(table.frames(), table.status_frames(), gref) {
        entry.write(kept.head, kept.frame.into(), kept.marks);
    }
}

/// Empties a frame that the guest may write at any time.
fn clear(frame: Mfn) {
    let words = directmap(frame.maddr()).cast::<AtomicU64>();
    for index in 0..PAGE_SIZE as usize / 8 {
        // SAFETY: within a frame of the table, whose lock the caller holds; accessed by atomics only.
        unsafe { (*words.add(index)).store(0, Relaxed) };
    }
}
