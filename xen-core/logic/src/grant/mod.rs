//! Grant entries: how the hypervisor marks in a granter's entry that its page is in use, and what it remembers of it.
//!
//! An entry is memory that the granter writes at any time. Using it *pins* it: marks tell the granter that its page is
//! in use, and as long as there is a pin, what is used is what was found at the first one, whatever the granter writes
//! meanwhile ([`Active`]). The two versions of entries differ in where the marks are:
//!
//! - version 1 ([`v1`]): in the word with the flags and the grantee, which both sides change by compare-exchange;
//! - version 2 ([`v2`]): in a word of their own. Each side writes its own and then reads the other's.

mod active;
pub mod maptrack;
pub mod transfer;
pub mod v1;
pub mod v2;

#[cfg(all(test, not(loom)))]
mod tests;

pub use active::{Active, Pins, What};

use xen_abi::{GNTST_general_error, GTF_permit_access, GTF_reading, GTF_readonly, GTF_type_mask, GTF_writing};

/// How often an entry that its granter changes all the time is looked at.
pub const TRIES: u32 = 16;

/// What somebody wants of a grant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ask {
    /// Who.
    pub grantee: u16,
    /// To write, or just to read.
    pub write: bool,
    /// To copy: then a part of a page will do, or another domain's grant.
    pub copy: bool,
}

impl Ask {
    /// The marks that tell the granter of it.
    pub const fn marks(self) -> u16 {
        if self.write {
            GTF_reading | GTF_writing
        } else {
            GTF_reading
        }
    }

    /// Whether the head of an entry, flags and grantee, permits it, in what both versions have in common.
    const fn is_permitted(self, head: u32) -> bool {
        let (flags, to) = (head as u16, (head >> 16) as u16);
        to == self.grantee && !(self.write && flags & GTF_readonly != 0)
    }
}

/// Whether the entry lends a page or a part of one.
const fn is_access(head: u32) -> bool {
    head as u16 & GTF_type_mask == GTF_permit_access
}

/// What an entry that does not permit something is answered with.
const REFUSED: i16 = GNTST_general_error;
