//! What a PV kernel says about itself in its `Xen` notes (`public/elfnote.h`).

use core::fmt;

use xen_abi as abi;

use crate::bytes::{u32_at, u64_at};
use crate::elf::Note;

/// Why a kernel cannot be started as a PV guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotesError {
    /// No note has the owner `Xen`.
    None,
    /// There is no entry point for PV.
    NoEntry,
    /// A note's contents have an unexpected size; its number.
    BadNote(u32),
    /// It is for another interface than `xen-3.0`.
    WrongVersion,
    /// It needs a feature that no guest gets here; its name.
    Needs(&'static str),
}

impl fmt::Display for NotesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => write!(
                f,
                "it has no Xen notes, so it is no paravirtual kernel; Linux needs CONFIG_XEN_PV=y"
            ),
            Self::NoEntry => write!(
                f,
                "its Xen notes name no PV entry point, so it is for other kinds of guests; Linux needs CONFIG_XEN_PV=y"
            ),
            Self::BadNote(kind) => write!(f, "its Xen note {kind} has an unexpected size"),
            Self::WrongVersion => write!(f, "its Xen notes ask for another interface than xen-3.0"),
            Self::Needs(what) => write!(f, "its Xen notes require {what}, which PV guests do not get"),
        }
    }
}

/// The notes that decide how a kernel is placed and entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Notes {
    /// Virtual address to enter at.
    pub entry: u64,
    /// Virtual address of pseudo-physical address 0.
    pub virt_base: u64,
    /// What the file's physical addresses count from.
    pub paddr_offset: u64,
    /// Page to fill with hypercall stubs, as a virtual address.
    pub hypercall_page: Option<u64>,
    /// Where the p2m table shall stand; else it follows the kernel.
    pub init_p2m: Option<u64>,
    /// The kernel finds its initrd by frame number, and wants it unmapped.
    pub mod_start_pfn: bool,
}

/// A number of 4 or 8 bytes.
fn number(desc: &[u8]) -> Option<u64> {
    match desc.len() {
        4 => u32_at(desc, 0).map(u64::from),
        8 => u64_at(desc, 0),
        _ => None,
    }
}

impl Notes {
    /// Collects the notes; of two of one kind the first counts.
    ///
    /// # Errors
    /// What keeps the kernel from being a PV guest.
    pub(crate) fn collect(notes: &[Note<'_>]) -> Result<Self, NotesError> {
        let find = |kind: u32| notes.iter().find(|note| note.kind == kind);
        let value = |kind: u32| match find(kind) {
            Some(note) => number(note.desc).map(Some).ok_or(NotesError::BadNote(kind)),
            None => Ok(None),
        };
        if notes.is_empty() {
            return Err(NotesError::None);
        }
        if find(abi::XEN_ELFNOTE_XEN_VERSION).is_some_and(|note| !note.desc.starts_with(b"xen-3.0")) {
            return Err(NotesError::WrongVersion);
        }
        let features = find(abi::XEN_ELFNOTE_FEATURES).map_or(&[][..], |note| note.desc);
        let required = features
            .split(|byte| *byte == b'|')
            .filter_map(|word| word.strip_prefix(b"!"));
        for word in required {
            if word.starts_with(b"auto_translated_physmap") {
                return Err(NotesError::Needs("auto_translated_physmap"));
            }
        }
        Ok(Self {
            entry: value(abi::XEN_ELFNOTE_ENTRY)?.ok_or(NotesError::NoEntry)?,
            virt_base: value(abi::XEN_ELFNOTE_VIRT_BASE)?.unwrap_or(0),
            paddr_offset: value(abi::XEN_ELFNOTE_PADDR_OFFSET)?.unwrap_or(0),
            hypercall_page: value(abi::XEN_ELFNOTE_HYPERCALL_PAGE)?,
            init_p2m: value(abi::XEN_ELFNOTE_INIT_P2M)?,
            mod_start_pfn: value(abi::XEN_ELFNOTE_MOD_START_PFN)?.is_some_and(|value| value != 0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    const ENTRY: Note<'_> = Note {
        kind: abi::XEN_ELFNOTE_ENTRY,
        desc: &[0, 0, 0, 0x81, 0xff, 0xff, 0xff, 0xff],
    };

    #[test]
    fn kernels_without_an_entry_are_refused_with_the_reason() {
        assert_eq!(Notes::collect(&[]), Err(NotesError::None));
        let other = Note {
            kind: abi::XEN_ELFNOTE_PHYS32_ENTRY,
            desc: &[0; 4],
        };
        assert_eq!(Notes::collect(&[other]), Err(NotesError::NoEntry));
        assert!(NotesError::None.to_string().contains("CONFIG_XEN_PV"));
    }

    #[test]
    fn numbers_of_both_sizes_are_read() {
        let short = Note {
            kind: abi::XEN_ELFNOTE_MOD_START_PFN,
            desc: &[1, 0, 0, 0],
        };
        let notes = Notes::collect(&[ENTRY, short]).unwrap();
        assert_eq!(notes.entry, 0xffff_ffff_8100_0000);
        assert!(notes.mod_start_pfn);
        let odd = Note {
            kind: abi::XEN_ELFNOTE_INIT_P2M,
            desc: &[1, 2, 3],
        };
        assert_eq!(
            Notes::collect(&[ENTRY, odd]),
            Err(NotesError::BadNote(abi::XEN_ELFNOTE_INIT_P2M))
        );
    }

    #[test]
    fn a_required_translation_is_refused() {
        let features = |desc| Note {
            kind: abi::XEN_ELFNOTE_FEATURES,
            desc,
        };
        let linux = features(b"!writable_page_tables|pae_pgdir_above_4gb");
        assert!(Notes::collect(&[ENTRY, linux]).is_ok());
        let hvm = features(b"!auto_translated_physmap\0");
        assert!(matches!(Notes::collect(&[ENTRY, hvm]), Err(NotesError::Needs(_))));
    }
}
