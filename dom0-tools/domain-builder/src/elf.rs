//! ELF64 executables for x86-64: the segments to load, and Xen's notes. Any bytes are a legal input.

use alloc::vec::Vec;
use core::fmt;

use crate::bytes::{slice_at, u16_at, u32_at, u64_at};

/// Why a file is no kernel that can be loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ElfError {
    /// Not an ELF file at all.
    NotElf,
    /// One, but not an executable of 64 bits for x86-64; what it is instead.
    WrongKind(&'static str),
    /// The file ends before the part that is named.
    Truncated(&'static str),
    /// A field makes no sense; its name.
    Bad(&'static str),
    /// Nothing asks to be loaded.
    Empty,
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf => write!(f, "not an ELF file"),
            Self::WrongKind(what) => write!(f, "an ELF file, but {what}: a PV kernel is an x86-64 executable"),
            Self::Truncated(what) => write!(f, "a truncated ELF file: it ends before its {what}"),
            Self::Bad(what) => write!(f, "a malformed ELF file: its {what} makes no sense"),
            Self::Empty => write!(f, "an ELF file without anything to load"),
        }
    }
}

const LOAD: u32 = 1;
const NOTE: u32 = 4;
const SECTION_NOTE: u32 = 7;
const SEGMENT_HEADER: usize = 56;
const SECTION_HEADER: usize = 64;

/// Part of a file that is to be loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Segment<'a> {
    /// Where (`p_paddr`; Linux's per-CPU segment has no useful `p_vaddr`).
    pub(crate) paddr: u64,
    /// Bytes in memory; those behind `data` are zero.
    pub(crate) size: u64,
    /// Bytes of the file.
    pub(crate) data: &'a [u8],
}

/// A note of owner `Xen`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Note<'a> {
    /// `XEN_ELFNOTE_*`.
    pub(crate) kind: u32,
    /// Its contents.
    pub(crate) desc: &'a [u8],
}

/// What of an ELF file matters here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Elf<'a> {
    /// To be loaded, none of them empty.
    pub(crate) segments: Vec<Segment<'a>>,
    /// Xen's notes, in the order of the file.
    pub(crate) notes: Vec<Note<'a>>,
}

impl<'a> Elf<'a> {
    /// Reads a file.
    ///
    /// # Errors
    /// What makes it none that can be loaded.
    pub(crate) fn parse(file: &'a [u8]) -> Result<Self, ElfError> {
        if !file.starts_with(b"\x7fELF") {
            return Err(ElfError::NotElf);
        }
        let header = file.get(..64).ok_or(ElfError::Truncated("header"))?;
        let half = |at| u16_at(header, at).unwrap_or(0);
        let kind = match (header[4], header[5], half(18), half(16)) {
            (2, 1, 62, 2 | 3) => None,
            (2, 1, 62, _) => Some("not an executable"),
            (2, 1, _, _) => Some("for another machine"),
            (2, _, _, _) => Some("big-endian"),
            _ => Some("not of 64 bits"),
        };
        if let Some(what) = kind {
            return Err(ElfError::WrongKind(what));
        }
        if usize::from(half(54)) != SEGMENT_HEADER {
            return Err(ElfError::Bad("size of program headers"));
        }
        let table = u64::from(half(56)) * SEGMENT_HEADER as u64;
        let at = u64_at(header, 32).unwrap_or(0);
        let headers = slice_at(file, at, table).ok_or(ElfError::Truncated("program headers"))?;

        let (mut segments, mut notes) = (Vec::new(), Vec::new());
        for header in headers.chunks_exact(SEGMENT_HEADER) {
            let quad = |at| u64_at(header, at).unwrap_or(0);
            let data = || slice_at(file, quad(8), quad(32)).ok_or(ElfError::Truncated("segments"));
            match u32_at(header, 0) {
                Some(LOAD) => segments.extend(segment(quad(24), quad(40), data()?)?),
                Some(NOTE) => notes.extend(Notes { bytes: data()? }),
                _ => {}
            }
        }
        notes.extend(section_notes(file, header));
        if segments.is_empty() {
            return Err(ElfError::Empty);
        }
        Ok(Self { segments, notes })
    }
}

fn segment(paddr: u64, size: u64, data: &[u8]) -> Result<Option<Segment<'_>>, ElfError> {
    if size < data.len() as u64 {
        return Err(ElfError::Bad("segment size"));
    }
    if paddr.checked_add(size).is_none() {
        return Err(ElfError::Bad("segment address"));
    }
    Ok((size != 0).then_some(Segment { paddr, size, data }))
}

/// Notes of sections, for files without note segments. A section table that makes no sense has none.
fn section_notes<'a>(file: &'a [u8], header: &[u8]) -> impl Iterator<Item = Note<'a>> {
    let half = |at| u16_at(header, at).unwrap_or(0);
    let count = if usize::from(half(58)) == SECTION_HEADER {
        half(60)
    } else {
        0
    };
    let at = u64_at(header, 40).unwrap_or(0);
    let headers = slice_at(file, at, u64::from(count) * SECTION_HEADER as u64).unwrap_or_default();
    headers
        .chunks_exact(SECTION_HEADER)
        .filter(|header| u32_at(header, 4) == Some(SECTION_NOTE))
        .filter_map(|header| slice_at(file, u64_at(header, 24)?, u64_at(header, 32)?))
        .flat_map(|bytes| Notes { bytes })
}

/// Walks notes: three words, then name and contents, each padded to 4 bytes. A malformed rest ends the walk.
struct Notes<'a> {
    bytes: &'a [u8],
}

impl<'a> Iterator for Notes<'a> {
    type Item = Note<'a>;

    fn next(&mut self) -> Option<Note<'a>> {
        loop {
            let name_len = u32_at(self.bytes, 0)? as usize;
            let desc_len = u32_at(self.bytes, 4)? as usize;
            let kind = u32_at(self.bytes, 8)?;
            let name_end = 12usize.checked_add(name_len)?;
            let desc_start = name_end.checked_next_multiple_of(4)?;
            let desc_end = desc_start.checked_add(desc_len)?;
            let name = self.bytes.get(12..name_end)?;
            let desc = self.bytes.get(desc_start..desc_end)?;
            self.bytes = self.bytes.get(desc_end.checked_next_multiple_of(4)?..).unwrap_or(&[]);
            if name == b"Xen\0" || name == b"Xen" {
                return Some(Note { kind, desc });
            }
        }
    }
}
