//! ELF64 executables for x86-64 as byte slices: segments to load, and notes. Any bytes are a legal input.

use core::fmt;

use crate::bytes::{slice_at, u16_at, u32_at, u64_at};

/// Why a slice is no kernel that can be loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ElfError {
    /// The magic is missing.
    NotElf,
    /// An ELF file, but not 64 bits, little-endian, x86-64; the field that says so.
    WrongKind(&'static str),
    /// The file ends before the part that is named.
    Truncated(&'static str),
    /// No segment asks to be loaded.
    NoSegments,
    /// A field has a value that makes no sense; its name.
    Bad(&'static str),
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf => write!(f, "not an ELF file"),
            Self::WrongKind(what) => write!(f, "an ELF file, but {what}: a PV kernel is an x86-64 executable"),
            Self::Truncated(what) => write!(f, "a truncated ELF file: it ends before its {what}"),
            Self::NoSegments => write!(f, "an ELF file without anything to load"),
            Self::Bad(what) => write!(f, "a malformed ELF file: its {what} makes no sense"),
        }
    }
}

impl core::error::Error for ElfError {}

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const SHT_NOTE: u32 = 7;
const PHDR_SIZE: usize = 56;
const SHDR_SIZE: usize = 64;

/// A program header, its file range already checked against the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment<'a> {
    /// `p_paddr`: where a loader puts it. (`p_vaddr` is 0 in Linux's per-CPU segment.)
    pub paddr: u64,
    /// `p_memsz`: bytes in memory; those past `data` are zero.
    pub mem_size: u64,
    /// Its bytes in the file.
    pub data: &'a [u8],
}

/// One note: its owner's name without the final zero, its number and its contents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Note<'a> {
    /// The owner, for instance `Xen`.
    pub name: &'a [u8],
    /// The number that the owner gave it.
    pub kind: u32,
    /// Its contents.
    pub desc: &'a [u8],
}

/// A parsed ELF executable.
#[derive(Clone, Copy, Debug)]
pub struct Elf<'a> {
    bytes: &'a [u8],
    /// `e_entry`. A PV kernel is entered at its note instead.
    pub entry: u64,
    /// Program headers.
    programs: &'a [u8],
    /// Section headers; a table that makes no sense is none.
    sections: &'a [u8],
}

impl<'a> Elf<'a> {
    /// Checks the header and every program header, so that the iterators need not fail.
    ///
    /// # Errors
    /// What makes it no loadable x86-64 executable.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ElfError> {
        if !bytes.starts_with(b"\x7fELF") {
            return Err(ElfError::NotElf);
        }
        let header = bytes.get(..64).ok_or(ElfError::Truncated("header"))?;
        let half = |at| u16_at(header, at).unwrap_or(0);
        let quad = |at| u64_at(header, at).unwrap_or(0);
        let wrong = match (header[4], header[5], half(18), half(16)) {
            (2, 1, 62, 2 | 3) => None,
            (2, 1, 62, _) => Some("not an executable"),
            (2, 1, _, _) => Some("for another machine"),
            (2, _, _, _) => Some("big-endian"),
            _ => Some("not of 64 bits"),
        };
        if let Some(what) = wrong {
            return Err(ElfError::WrongKind(what));
        }
        if usize::from(half(54)) != PHDR_SIZE {
            return Err(ElfError::Bad("size of program headers"));
        }
        let table = |at: u64, count: u16, size: usize| slice_at(bytes, at, u64::from(count) * size as u64);
        let sections = if usize::from(half(58)) == SHDR_SIZE {
            table(quad(40), half(60), SHDR_SIZE)
        } else {
            None
        };
        let elf = Self {
            bytes,
            entry: quad(24),
            programs: table(quad(32), half(56), PHDR_SIZE).ok_or(ElfError::Truncated("program headers"))?,
            sections: sections.unwrap_or_default(),
        };
        elf.check()
    }

    fn check(self) -> Result<Self, ElfError> {
        let mut loads = 0;
        for header in self.program_headers() {
            let kind = u32_at(header, 0).unwrap_or(0);
            if kind != PT_LOAD && kind != PT_NOTE {
                continue;
            }
            let data = self.segment_data(header).ok_or(ElfError::Truncated("segments"))?;
            if kind == PT_LOAD {
                let (paddr, size) = (u64_at(header, 24).unwrap_or(0), u64_at(header, 40).unwrap_or(0));
                if size < data.len() as u64 {
                    return Err(ElfError::Bad("segment size"));
                }
                if paddr.checked_add(size).is_none() {
                    return Err(ElfError::Bad("segment address"));
                }
                loads += u32::from(size != 0);
            }
        }
        if loads == 0 {
            Err(ElfError::NoSegments)
        } else {
            Ok(self)
        }
    }

    fn program_headers(self) -> impl Iterator<Item = &'a [u8]> {
        self.programs.chunks_exact(PHDR_SIZE)
    }

    fn segment_data(self, header: &[u8]) -> Option<&'a [u8]> {
        slice_at(self.bytes, u64_at(header, 8)?, u64_at(header, 32)?)
    }

    /// The segments to load that are not empty, in the file's order.
    pub fn segments(self) -> impl Iterator<Item = Segment<'a>> {
        self.program_headers()
            .filter(|h| u32_at(h, 0) == Some(PT_LOAD))
            .filter_map(move |h| {
                let segment = Segment {
                    paddr: u64_at(h, 24)?,
                    mem_size: u64_at(h, 40)?,
                    data: self.segment_data(h)?,
                };
                (segment.mem_size != 0).then_some(segment)
            })
    }

    /// Lowest and one past the highest physical address that a segment takes.
    pub fn extent(self) -> (u64, u64) {
        self.segments().fold((u64::MAX, 0), |(low, high), s| {
            (low.min(s.paddr), high.max(s.paddr + s.mem_size))
        })
    }

    /// Every note of the note segments, then of the note sections. A malformed rest ends its segment or section.
    pub fn notes(self) -> impl Iterator<Item = Note<'a>> {
        let segments = self.program_headers().filter(|h| u32_at(h, 0) == Some(PT_NOTE));
        let in_segments = segments.filter_map(move |h| self.segment_data(h));
        let sections = self.sections.chunks_exact(SHDR_SIZE);
        let in_sections = sections
            .filter(|h| u32_at(h, 4) == Some(SHT_NOTE))
            .filter_map(move |h| slice_at(self.bytes, u64_at(h, 24)?, u64_at(h, 32)?));
        in_segments.chain(in_sections).flat_map(|bytes| Notes { bytes })
    }
}

/// Walks the notes of one segment or section: three words, then name and contents, each padded to 4 bytes.
struct Notes<'a> {
    bytes: &'a [u8],
}

impl<'a> Iterator for Notes<'a> {
    type Item = Note<'a>;

    fn next(&mut self) -> Option<Note<'a>> {
        let name_len = u32_at(self.bytes, 0)? as usize;
        let desc_len = u32_at(self.bytes, 4)? as usize;
        let kind = u32_at(self.bytes, 8)?;
        let name_end = 12usize.checked_add(name_len)?;
        let desc_start = name_end.checked_next_multiple_of(4)?;
        let desc_end = desc_start.checked_add(desc_len)?;
        let name = self.bytes.get(12..name_end)?;
        let desc = self.bytes.get(desc_start..desc_end)?;
        self.bytes = self.bytes.get(desc_end.checked_next_multiple_of(4)?..).unwrap_or(&[]);
        Some(Note {
            name: name.strip_suffix(b"\0").unwrap_or(name),
            kind,
            desc,
        })
    }
}

#[cfg(test)]
#[path = "elf_tests.rs"]
pub(crate) mod tests;
