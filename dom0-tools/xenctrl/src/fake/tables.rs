//! What the hypervisor checks when it takes frames as page tables: each entry names a frame of the domain, each table
//! has one level, and none is mapped writable.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use privcmd::{Mapping, PAGE_SIZE};
use xen_abi::Errno;

use super::refused;
use crate::memory::PinLevel;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 2;
const LARGE: u64 = 1 << 7;
const FRAME: u64 = 0x000f_ffff_ffff_f000;
/// Slots of a root that belong to the hypervisor.
const HOLE: std::ops::Range<usize> = 256..272;

struct Walk<'a> {
    memory: &'a File,
    is_own: &'a dyn Fn(u64) -> bool,
    /// Level of each table seen.
    levels: BTreeMap<u64, u32>,
    /// Frames that an entry maps writable.
    writable: Vec<u64>,
}

/// Checks tables to be pinned, and all below them.
pub(super) fn check(memory: &File, is_own: &dyn Fn(u64) -> bool, roots: &[(PinLevel, u64)]) -> io::Result<()> {
    let mut walk = Walk {
        memory,
        is_own,
        levels: BTreeMap::new(),
        writable: Vec::new(),
    };
    for (level, mfn) in roots {
        let level = match level {
            PinLevel::L1 => 1,
            PinLevel::L2 => 2,
            PinLevel::L3 => 3,
            PinLevel::L4 => 4,
        };
        walk.table(*mfn, level)?;
    }
    if walk.writable.iter().any(|mfn| walk.levels.contains_key(mfn)) {
        return Err(refused(Errno::EINVAL));
    }
    Ok(())
}

impl Walk<'_> {
    fn table(&mut self, mfn: u64, level: u32) -> io::Result<()> {
        if !(self.is_own)(mfn) {
            return Err(refused(Errno::EINVAL));
        }
        match self.levels.insert(mfn, level) {
            Some(before) if before == level => return Ok(()),
            Some(_) => return Err(refused(Errno::EINVAL)),
            None => {}
        }
        let mut bytes = [0; PAGE_SIZE];
        Mapping::of_pages(self.memory, &[mfn], false)?.read(0, &mut bytes);
        for (index, entry) in bytes.chunks_exact(8).enumerate() {
            let entry = u64::from_le_bytes(entry.try_into().unwrap_or_default());
            if entry & PRESENT == 0 {
                continue;
            }
            if level == 4 && HOLE.contains(&index) || level > 1 && entry & LARGE != 0 {
                return Err(refused(Errno::EINVAL));
            }
            let target = (entry & FRAME) >> 12;
            if level > 1 {
                self.table(target, level - 1)?;
            } else if !(self.is_own)(target) {
                return Err(refused(Errno::EINVAL));
            } else if entry & WRITABLE != 0 {
                self.writable.push(target);
            }
        }
        Ok(())
    }
}
