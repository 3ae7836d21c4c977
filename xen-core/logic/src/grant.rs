//! Version-1 grant entries: how the hypervisor marks in a granter's entry that its page is in use.
//!
//! The first word of an entry holds the flags in its low half and the grantee in its high half; granter and
//! hypervisor both change it, by compare-exchange.

use xen_abi::{
    GNTST_general_error, GTF_permit_access, GTF_reading, GTF_readonly, GTF_sub_page, GTF_type_mask, GTF_writing,
};

/// How often an entry's page is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pins {
    /// Uses that only read.
    pub readers: u32,
    /// Uses that may write.
    pub writers: u32,
}

impl Pins {
    /// One use more.
    pub const fn add(self, write: bool) -> Option<Self> {
        let Pins { readers, writers } = self;
        let (more_readers, more_writers) = if write { (0, 1) } else { (1, 0) };
        match (readers.checked_add(more_readers), writers.checked_add(more_writers)) {
            (Some(readers), Some(writers)) => Some(Self { readers, writers }),
            _ => None,
        }
    }

    /// One use less.
    pub const fn remove(self, write: bool) -> Self {
        match write {
            true => Self {
                readers: self.readers,
                writers: self.writers.saturating_sub(1),
            },
            false => Self {
                readers: self.readers.saturating_sub(1),
                writers: self.writers,
            },
        }
    }

    /// No use at all.
    pub const fn is_none(self) -> bool {
        self.readers == 0 && self.writers == 0
    }
}

/// The word after `grantee` has begun to use the page.
///
/// # Errors
/// `GNTST_general_error` where the entry does not grant that to this domain.
pub const fn claim(word: u32, grantee: u16, write: bool) -> Result<u32, i16> {
    let (flags, to) = (word as u16, (word >> 16) as u16);
    if flags & GTF_type_mask != GTF_permit_access || to != grantee || flags & GTF_sub_page != 0 {
        return Err(GNTST_general_error);
    }
    if write && flags & GTF_readonly != 0 {
        return Err(GNTST_general_error);
    }
    let marks = if write { GTF_reading | GTF_writing } else { GTF_reading };
    Ok(word | marks as u32)
}

/// The word after a use has ended and `left` are left.
pub const fn release(word: u32, left: Pins) -> u32 {
    let mut gone = 0;
    if left.writers == 0 {
        gone |= GTF_writing as u32;
    }
    if left.is_none() {
        gone |= GTF_reading as u32;
    }
    word & !gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const fn entry(flags: u16, to: u16) -> u32 {
        flags as u32 | (to as u32) << 16
    }

    #[test]
    fn who_may() {
        let plain = entry(GTF_permit_access, 3);
        assert_eq!(claim(plain, 3, false), Ok(plain | GTF_reading as u32));
        assert_eq!(claim(plain, 3, true), Ok(plain | (GTF_reading | GTF_writing) as u32));
        assert!(claim(plain, 4, false).is_err());
        let readonly = entry(GTF_permit_access | GTF_readonly, 3);
        assert!(claim(readonly, 3, false).is_ok() && claim(readonly, 3, true).is_err());
        for flags in [0, 2, 3, GTF_permit_access | GTF_sub_page] {
            assert!(claim(entry(flags, 3), 3, false).is_err());
        }
    }

    proptest! {
        /// After any sequence of uses the marks say what is left, and the granter's bits are untouched.
        #[test]
        fn marks_follow_uses(steps in prop::collection::vec((any::<bool>(), any::<bool>()), 0..40)) {
            let start = entry(GTF_permit_access, 7);
            let (mut word, mut pins, mut open) = (start, Pins::default(), Vec::new());
            for (begin, write) in steps {
                if begin {
                    word = claim(word, 7, write).unwrap();
                    pins = pins.add(write).unwrap();
                    open.push(write);
                } else if let Some(write) = open.pop() {
                    pins = pins.remove(write);
                    word = release(word, pins);
                }
                prop_assert_eq!(word & GTF_reading as u32 != 0, !open.is_empty());
                prop_assert_eq!(word & GTF_writing as u32 != 0, open.contains(&true));
                prop_assert_eq!(word & !u32::from(GTF_reading | GTF_writing), start);
            }
        }
    }
}
