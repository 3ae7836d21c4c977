//! What a PV kernel says about itself in its `Xen` notes (`public/elfnote.h`).

use core::fmt;

use xen_abi as abi;

use crate::bytes::{u32_at, u64_at};
use crate::elf::Elf;

/// Why a kernel cannot be started as a PV guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotesError {
    /// No note has the owner `Xen`.
    NoXenNotes,
    /// There are some, but none with the entry point: the kernel is built for other kinds of guests.
    NoEntry,
    /// A note's contents have an unexpected size; its number.
    BadNote(u32),
    /// It is for another interface than `xen-3.0`.
    WrongVersion,
    /// It must be started as Dom0, and has said that it cannot be.
    NotDom0,
    /// It needs a feature that no guest gets here; its name.
    Needs(&'static str),
}

impl fmt::Display for NotesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoXenNotes => write!(
                f,
                "it has no Xen notes, so it is no PV kernel; Linux needs CONFIG_XEN_PV=y"
            ),
            Self::NoEntry => write!(
                f,
                "its Xen notes have no entry point (ENTRY), so it is no PV kernel; Linux needs CONFIG_XEN_PV=y"
            ),
            Self::BadNote(kind) => write!(f, "its Xen note {kind} has an unexpected size"),
            Self::WrongVersion => write!(f, "its Xen notes ask for another interface than xen-3.0"),
            Self::NotDom0 => write!(f, "it cannot be Dom0 (its note SUPPORTED_FEATURES lacks dom0)"),
            Self::Needs(what) => write!(f, "its Xen notes require {what}, which PV guests do not get"),
        }
    }
}

impl core::error::Error for NotesError {}

/// What a kernel is started as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The first domain.
    Dom0,
    /// Any other.
    DomU,
}

/// The notes that decide how a kernel is placed and entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct XenNotes {
    /// Virtual address to enter at.
    pub entry: u64,
    /// Virtual address of physical address `paddr_offset`.
    pub virt_base: u64,
    /// What the file's physical addresses count from.
    pub paddr_offset: u64,
    /// Page to fill with hypercall stubs, as a virtual address, for kernels that use one.
    pub hypercall_page: Option<u64>,
    /// Where the kernel wants its p2m table; else the builder chooses.
    pub init_p2m: Option<u64>,
    /// The kernel finds its initrd by frame number, and wants it unmapped.
    pub mod_start_pfn: bool,
}

/// A number of 1, 4 or 8 bytes.
fn number(desc: &[u8]) -> Option<u64> {
    match desc.len() {
        1 => Some(u64::from(desc[0])),
        4 => u32_at(desc, 0).map(u64::from),
        8 => u64_at(desc, 0),
        _ => None,
    }
}

impl XenNotes {
    /// Collects the notes; of two with the same number the first counts.
    ///
    /// # Errors
    /// What keeps the kernel from being a PV guest in this role.
    pub fn parse(elf: Elf<'_>, role: Role) -> Result<Self, NotesError> {
        let own = || elf.notes().filter(|note| note.name == b"Xen");
        if own().next().is_none() {
            return Err(NotesError::NoXenNotes);
        }
        let find = |kind: u32| own().find(|note| note.kind == kind).map(|note| note.desc);
        let value = |kind: u32| match find(kind) {
            Some(desc) => number(desc).map(Some).ok_or(NotesError::BadNote(kind)),
            None => Ok(None),
        };
        if find(abi::XEN_ELFNOTE_XEN_VERSION).is_some_and(|desc| !desc.starts_with(b"xen-3.0")) {
            return Err(NotesError::WrongVersion);
        }
        let notes = Self {
            entry: value(abi::XEN_ELFNOTE_ENTRY)?.ok_or(NotesError::NoEntry)?,
            virt_base: value(abi::XEN_ELFNOTE_VIRT_BASE)?.unwrap_or(0),
            paddr_offset: value(abi::XEN_ELFNOTE_PADDR_OFFSET)?.unwrap_or(0),
            hypercall_page: value(abi::XEN_ELFNOTE_HYPERCALL_PAGE)?,
            init_p2m: value(abi::XEN_ELFNOTE_INIT_P2M)?,
            mod_start_pfn: value(abi::XEN_ELFNOTE_MOD_START_PFN)?.is_some_and(|value| value != 0),
        };
        check_features(find(abi::XEN_ELFNOTE_FEATURES).unwrap_or_default())?;
        if role == Role::Dom0 {
            check_dom0(value(abi::XEN_ELFNOTE_SUPPORTED_FEATURES)?)?;
        }
        Ok(notes)
    }
}

/// Linux marks `writable_page_tables` as required here, and runs without, as it finds the truth by
/// `XENVER_get_features`. Only what no paravirtual kernel can go without is taken by its word.
fn check_features(features: &[u8]) -> Result<(), NotesError> {
    let mut required = features
        .split(|byte| *byte == b'|')
        .filter_map(|word| word.strip_prefix(b"!"));
    const TRANSLATED: &str = "auto_translated_physmap";
    match required.any(|word| word.starts_with(TRANSLATED.as_bytes())) {
        true => Err(NotesError::Needs(TRANSLATED)),
        false => Ok(()),
    }
}

/// A kernel without a word on it is taken to be able to be Dom0.
fn check_dom0(supported: Option<u64>) -> Result<(), NotesError> {
    match supported {
        Some(bits) if bits & 1 << abi::XENFEAT_dom0 == 0 => Err(NotesError::NotDom0),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "notes_tests.rs"]
mod tests;
