//! What a PV kernel says about itself in its `Xen` notes (`public/elfnote.h`).

use crate::elf::{Elf, u32_at, u64_at};
use core::fmt;

const ENTRY: u32 = 1;
const HYPERCALL_PAGE: u32 = 2;
const VIRT_BASE: u32 = 3;
const PADDR_OFFSET: u32 = 4;
const XEN_VERSION: u32 = 5;
const INIT_P2M: u32 = 15;
const MOD_START_PFN: u32 = 16;
const SUPPORTED_FEATURES: u32 = 17;

/// `XENFEAT_dom0`: the kernel can be Dom0.
const FEAT_DOM0: u32 = 11;

/// Why a kernel cannot be started as a PV guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotesError {
    /// There is not one note with owner `Xen`.
    NoXenNotes,
    /// There are, but none with the entry point: the kernel is built for other kinds of guests.
    NoEntry,
    /// A note's contents have the wrong size; its number.
    BadNote(u32),
    /// The XEN_VERSION note asks for another interface.
    WrongVersion,
    /// It must be started as Dom0, and has said that it cannot be.
    NotDom0,
}

impl fmt::Display for NotesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotesError::NoXenNotes => write!(f, "it has no Xen notes, so it cannot run paravirtualised"),
            NotesError::NoEntry => write!(f, "it has no Xen entry point (note ENTRY), so it is no PV kernel"),
            NotesError::BadNote(kind) => write!(f, "its Xen note {kind} has a bad size"),
            NotesError::WrongVersion => write!(f, "it is for another interface than xen-3.0"),
            NotesError::NotDom0 => write!(f, "it cannot be Dom0 (its note SUPPORTED_FEATURES lacks dom0)"),
        }
    }
}

/// The notes that decide how a kernel is placed and entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct XenNotes {
    /// Virtual address to enter at.
    pub entry: u64,
    /// Virtual address of physical address `paddr_offset`.
    pub virt_base: u64,
    /// What `p_paddr` counts from.
    pub paddr_offset: u64,
    /// Page to fill with hypercall stubs, for kernels that use one.
    pub hypercall_page: Option<u64>,
    /// Where the kernel wants its p2m table; else it follows the initrd.
    pub init_p2m: Option<u64>,
    /// The kernel takes `mod_start` as a frame number, and the initrd unmapped.
    pub mod_start_pfn: bool,
    /// Bits of `SUPPORTED_FEATURES`, if the kernel has that note.
    pub supported: Option<u64>,
}

/// A number of 1, 2, 4 or 8 bytes.
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
    /// What keeps the kernel from being a PV guest.
    pub fn parse(elf: Elf<'_>) -> Result<Self, NotesError> {
        let find = |kind: u32| elf.notes().find(|n| n.name == b"Xen" && n.kind == kind);
        let value = |kind: u32| match find(kind) {
            Some(note) => number(note.desc).map(Some).ok_or(NotesError::BadNote(kind)),
            None => Ok(None),
        };
        if !elf.notes().any(|n| n.name == b"Xen") {
            return Err(NotesError::NoXenNotes);
        }
        if find(XEN_VERSION).is_some_and(|n| !n.desc.starts_with(b"xen-3.0")) {
            return Err(NotesError::WrongVersion);
        }
        Ok(Self {
            entry: value(ENTRY)?.ok_or(NotesError::NoEntry)?,
            virt_base: value(VIRT_BASE)?.unwrap_or(0),
            paddr_offset: value(PADDR_OFFSET)?.unwrap_or(0),
            hypercall_page: value(HYPERCALL_PAGE)?,
            init_p2m: value(INIT_P2M)?,
            mod_start_pfn: value(MOD_START_PFN)?.is_some_and(|v| v != 0),
            supported: value(SUPPORTED_FEATURES)?,
        })
    }

    /// Can this kernel be Dom0? One without a word on it is taken to be able to.
    ///
    /// The `FEATURES` string is not consulted: Linux marks `writable_page_tables` as required there, and runs
    /// without, as it finds the truth by `XENVER_get_features`.
    ///
    /// # Errors
    /// `NotDom0`.
    pub fn check_dom0(&self) -> Result<(), NotesError> {
        match self.supported {
            Some(bits) if bits & 1 << FEAT_DOM0 == 0 => Err(NotesError::NotDom0),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "xen_notes_tests.rs"]
mod tests;
