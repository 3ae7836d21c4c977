//! Pages of this domain granted to others, by `/dev/xen/gntalloc`.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::sync::Arc;

use crate::DomId;
use crate::PAGE_SIZE;
use crate::device;
use crate::grant_set::{DEALLOC_GREF, GrantSet};
use crate::mapping::Mapping;

// The structure is 16 bytes of header and one reference, padded to 24.
const ALLOC_GREF: u64 = device::request(b'G', 5, 24);
const WRITABLE: u64 = 1;

/// The device; clones share one descriptor.
#[derive(Clone, Debug)]
pub struct GrantAlloc {
    file: Arc<File>,
}

/// Pages granted to another domain; dropping them ends the grants once the other side has unmapped them.
#[derive(Debug)]
pub struct GrantedPages {
    mapping: Mapping,
    grefs: Vec<u32>,
    _hold: GrantSet,
}

impl GrantAlloc {
    /// Opens the device.
    ///
    /// # Errors
    /// With what to do: load a module, be root, be in a Xen domain.
    pub fn open() -> io::Result<Self> {
        let file = Arc::new(device::open(&["/dev/xen/gntalloc"], 0, "xen-gntalloc")?);
        Ok(Self { file })
    }

    /// Makes `count` zeroed pages and grants them to `domid`.
    ///
    /// # Errors
    /// The kernel's; `ENOSPC` past its limit of pages.
    pub fn grant(&self, domid: DomId, count: u32, writable: bool) -> io::Result<GrantedPages> {
        // Header of two words (domid, flags, count; index), then references of 32 bits.
        let mut words = vec![0u64; 2 + count.div_ceil(2) as usize];
        words[0] = u64::from(domid) | (u64::from(writable) * WRITABLE) << 16 | u64::from(count) << 32;
        // SAFETY: `words` is the request's structure with room for `count` references.
        unsafe { device::ioctl(&self.file, ALLOC_GREF, words.as_mut_ptr() as u64)? };
        let hold = GrantSet {
            file: self.file.clone(),
            index: words[1],
            count,
            forget: DEALLOC_GREF,
        };
        let halves = words[2..].iter().flat_map(|word| [*word as u32, (word >> 32) as u32]);
        let grefs = halves.take(count as usize).collect();
        let mapping = Mapping::of_file(&*self.file, hold.index, count as usize * PAGE_SIZE, true)?;
        Ok(GrantedPages {
            mapping,
            grefs,
            _hold: hold,
        })
    }
}

impl GrantedPages {
    /// The reference of each page.
    pub fn grefs(&self) -> &[u32] {
        &self.grefs
    }
}

impl Deref for GrantedPages {
    type Target = Mapping;

    fn deref(&self) -> &Mapping {
        &self.mapping
    }
}
