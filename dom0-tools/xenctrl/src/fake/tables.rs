//! What the hypervisor checks when it takes frames as page tables: each entry names a frame of the domain, each table
//! has one level, and none is mapped writable.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use privcmd::{Mapping, PAGE_SIZE};
use xen_abi::Errno;

use super::refused;
use crate::PinLevel;

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
    levels(memory, is_own, roots).map(drop)
}

/// The same; the level of each table.
pub(super) fn levels(
    memory: &File,
    is_own: &dyn Fn(u64) -> bool,
    roots: &[(PinLevel, u64)],
) -> io::Result<BTreeMap<u64, u32>> {
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
    Ok(walk.levels)
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

#[cfg(test)]
mod tests {
    use privcmd::PAGE_SIZE;

    use super::*;
    use crate::Memory;
    use crate::fake::Fake;
    use crate::{CreateDomain, Domains};

    /// Pins a root whose one page is mapped by `last`, with tables in frames 0 to 3 of the domain and data in 4.
    fn pin(last: impl Fn(&[u64]) -> u64) -> bool {
        let fake = Fake::new(64, 1);
        let domid = fake.create_domain(&CreateDomain::new([0; 16], 1)).unwrap();
        fake.set_max_mem(domid, 20).unwrap();
        let mut mfns = [0, 1, 2, 3, 4];
        assert_eq!(fake.populate(domid, 0, &mut mfns).unwrap(), 5);
        let pages = fake.map_foreign(domid, &mfns, true).unwrap();
        for table in 0..3 {
            pages.write(
                table * PAGE_SIZE,
                &(mfns[table + 1] << 12 | PRESENT | WRITABLE).to_le_bytes(),
            );
        }
        pages.write(3 * PAGE_SIZE, &last(&mfns).to_le_bytes());
        fake.pin_tables(domid, &[(PinLevel::L4, mfns[0])]).is_ok()
    }

    #[test]
    fn tables_are_refused_as_the_hypervisor_does() {
        assert!(pin(|mfns| mfns[4] << 12 | PRESENT | WRITABLE));
        assert!(pin(|mfns| mfns[2] << 12 | PRESENT), "a table may be read");
        assert!(!pin(|mfns| mfns[2] << 12 | PRESENT | WRITABLE), "but not written");
        assert!(!pin(|_| 60 << 12 | PRESENT), "nobody's frame");
    }
}
