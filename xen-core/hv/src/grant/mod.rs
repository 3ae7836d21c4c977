//! Grant tables: how domains lend each other pages.
//!
//! Using a grant *pins* it: the granter's entry is marked, and as long as it is pinned what it lends is what was found
//! at the first pin, whatever the granter writes into the entry (`xen_logic::grant`). What is mapped or copied is then
//! looked up like any other frame of the granter's, by its owner and type, so a grant gives no more than the granter
//! itself could map.
//!
//! Locks: a domain's table, and a domain's mappings, are leaves but for the page allocator and the heap. Never are two
//! of them held at once, of one domain or of two; so no order between domains is needed. A transitive grant's two
//! tables are pinned one after the other.
//!
//! A domain is only lent to, and lends only, while it is alive: requests find it by `domain::find_alive`. At its end
//! [`release`] ends what it has mapped and gives up its table. What others have mapped of it stays theirs: the entry's
//! place is gone, and only what is remembered beside it is counted down.

mod copy;
mod entry;
mod flush;
mod map;
mod release;
mod replace;
mod swap;
mod table;
mod transfer;
mod unmap;
mod version;

pub use copy::Copier;
pub use flush::cache_flush;
pub use map::{Granters, map};
pub use release::release;
pub use replace::unmap_and_replace;
pub use swap::swap;
pub use table::each_written;
pub use transfer::transfer;
pub use unmap::{Unmapped, unmap};
pub use version::set_version;

use crate::domain::{Config, Domain};
use crate::sync::Mutex;
use alloc::sync::Arc;
use core::sync::atomic::AtomicU32;
use map::DeviceUse;
use table::Table;
use xen_abi::Errno;
use xen_logic::grant::maptrack::{self, Maptrack};

/// A domain's mapping of a grant.
type Mapping = maptrack::Mapping<Arc<Domain>, DeviceUse>;

/// A domain's grants: those it gives, and its mappings of others'.
pub struct DomainGrants {
    table: Mutex<Table>,
    mappings: Mutex<Maptrack<Arc<Domain>, DeviceUse>>,
    /// Most frames of the table.
    max_frames: u32,
    /// The highest version it may choose.
    max_version: u32,
    /// At the domain's end: handles below this one are free.
    released: AtomicU32,
}

/// More frames than this no table has: changing the version clears them all at once.
const FRAMES_LIMIT: u32 = 1024;

/// More chunks of mappings than this no domain has; 4 Mi handles.
const MAPTRACK_LIMIT: u32 = 1 << 14;

/// `XENMEM_resource_grant_table_id_shared`.
const RESOURCE_SHARED: u32 = 0;
/// `XENMEM_resource_grant_table_id_status`.
const RESOURCE_STATUS: u32 = 1;

impl DomainGrants {
    /// An empty table of version 1, no mappings.
    pub fn new(config: &Config) -> Self {
        Self {
            table: Mutex::new(Table::new()),
            mappings: Mutex::new(Maptrack::new(config.max_maptrack_frames.min(MAPTRACK_LIMIT))),
            max_frames: config.max_grant_frames.min(FRAMES_LIMIT),
            max_version: config.max_grant_version,
            released: AtomicU32::new(0),
        }
    }

    /// How many frames the table has, and may have. One that was not used yet counts as one frame, as Xen makes it
    /// with the domain.
    pub fn size(&self) -> (u32, u32) {
        let have = self.table.lock().frames().len() as u32;
        (have.max(1).min(self.max_frames), self.max_frames)
    }

    /// The version in force.
    pub fn version(&self) -> u32 {
        self.table.lock().version()
    }
}

/// Grows the domain's table to `count` frames, if it is smaller, and calls `tell` with index and number of the first
/// `count` of them; not with the table locked.
///
/// # Errors
/// `EINVAL` beyond the limit, `ENOMEM`; what `tell` says.
pub fn set_up(domain: &Domain, count: u32, tell: impl FnMut(u64, u64) -> Result<(), Errno>) -> Result<(), Errno> {
    grow(domain, count)?;
    tell_frames(domain, count, Table::frames, tell)
}

/// As [`set_up`], of the status frames of a table of version 2; the table does not grow.
///
/// # Errors
/// `EINVAL` in version 1, or for more frames than there are; what `tell` says.
pub fn status_frames(
    domain: &Domain,
    count: u32,
    tell: impl FnMut(u64, u64) -> Result<(), Errno>,
) -> Result<(), Errno> {
    {
        let table = domain.grants.table.lock();
        if table.version() != 2 || count as usize > table.status_frames().len() {
            return Err(Errno::EINVAL);
        }
    }
    tell_frames(domain, count, Table::status_frames, tell)
}

fn grow(domain: &Domain, count: u32) -> Result<(), Errno> {
    if count > domain.grants.max_frames || domain.is_dying() {
        return Err(Errno::EINVAL);
    }
    domain.grants.table.lock().grow(domain, count as usize)
}

fn tell_frames(
    domain: &Domain,
    count: u32,
    list: fn(&Table) -> &[crate::mm::Mfn],
    mut tell: impl FnMut(u64, u64) -> Result<(), Errno>,
) -> Result<(), Errno> {
    for index in 0..count as usize {
        // Frames stay where they are, so each can be looked up by itself.
        let frame = list(&domain.grants.table.lock()).get(index).copied();
        tell(index as u64, frame.ok_or(Errno::EINVAL)?.0)?;
    }
    Ok(())
}

/// How many frames `XENMEM_acquire_resource` can ask for at most: of the table, or of its status.
///
/// # Errors
/// `EINVAL` for another number than those two.
pub fn resource_size(domain: &Domain, id: u32) -> Result<u32, Errno> {
    match id {
        RESOURCE_SHARED => Ok(domain.grants.max_frames),
        RESOURCE_STATUS => Ok(table::status_count(domain.grants.max_frames as usize) as u32),
        _ => Err(Errno::EINVAL),
    }
}

/// Fills `frames` with the numbers of the domain's table or status frames from the `first` on; the table grows for it.
///
/// # Errors
/// `EINVAL` beyond the limit, for status frames in version 1, or for another number than those two; `ENOMEM`.
pub fn resource_frames(domain: &Domain, id: u32, first: u64, frames: &mut [u64]) -> Result<(), Errno> {
    let end = first.checked_add(frames.len() as u64).ok_or(Errno::EINVAL)?;
    if end > resource_size(domain, id)? as u64 {
        return Err(Errno::EINVAL);
    }
    let (list, needed): (fn(&Table) -> &[crate::mm::Mfn], u64) = match id {
        RESOURCE_SHARED => (Table::frames, end),
        _ if domain.grants.version() != 2 => return Err(Errno::EINVAL),
        _ => (Table::status_frames, table::frames_for_status(end)),
    };
    grow(domain, (needed as u32).min(domain.grants.max_frames))?;
    let table = domain.grants.table.lock();
    let have = list(&table).get(first as usize..end as usize).ok_or(Errno::EINVAL)?;
    frames.iter_mut().zip(have).for_each(|(frame, mfn)| *frame = mfn.0);
    Ok(())
}
