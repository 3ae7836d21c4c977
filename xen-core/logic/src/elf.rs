//! ELF64 executables for x86-64 as byte slices: segments to load, and notes. Any bytes are a legal input.

use core::fmt;

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
            ElfError::NotElf => write!(f, "not an ELF file"),
            ElfError::WrongKind(what) => write!(f, "not an x86-64 ELF executable ({what})"),
            ElfError::Truncated(what) => write!(f, "truncated ELF file: it ends before its {what}"),
            ElfError::NoSegments => write!(f, "ELF file without a segment to load"),
            ElfError::Bad(what) => write!(f, "malformed ELF file: bad {what}"),
        }
    }
}

/// Reads a little-endian u16 at `at`, if the slice is long enough.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// Reads a little-endian u32 at `at`, if the slice is long enough.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// Reads a little-endian u64 at `at`, if the slice is long enough.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

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
    phoff: usize,
    phnum: usize,
    shoff: usize,
    shnum: usize,
}

impl<'a> Elf<'a> {
    /// Does this look like an ELF file of any kind?
    pub fn has_magic(bytes: &[u8]) -> bool {
        bytes.starts_with(b"\x7fELF")
    }

    /// Checks the header and every program header, so that the iterators need not fail.
    ///
    /// # Errors
    /// What makes it no loadable x86-64 executable.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ElfError> {
        if !Self::has_magic(bytes) {
            return Err(ElfError::NotElf);
        }
        let header = bytes.get(..64).ok_or(ElfError::Truncated("file header"))?;
        let half = |at| u16_at(header, at).unwrap_or(0);
        let quad = |at| u64_at(header, at).unwrap_or(0);
        if header[4] != 2 {
            return Err(ElfError::WrongKind("not 64 bits"));
        }
        if header[5] != 1 {
            return Err(ElfError::WrongKind("not little-endian"));
        }
        if half(18) != 62 {
            return Err(ElfError::WrongKind("another machine"));
        }
        if half(16) != 2 && half(16) != 3 {
            return Err(ElfError::WrongKind("not an executable"));
        }
        if usize::from(half(54)) != PHDR_SIZE {
            return Err(ElfError::Bad("program header size"));
        }
        let elf = Self {
            bytes,
            entry: quad(24),
            phoff: usize::try_from(quad(32)).map_err(|_| ElfError::Bad("program header offset"))?,
            phnum: usize::from(half(56)),
            shoff: usize::try_from(quad(40)).unwrap_or(usize::MAX),
            shnum: if usize::from(half(58)) == SHDR_SIZE {
                usize::from(half(60))
            } else {
                0
            },
        };
        elf.check()
    }

    fn check(self) -> Result<Self, ElfError> {
        let end = self
            .phoff
            .checked_add(self.phnum * PHDR_SIZE)
            .ok_or(ElfError::Bad("program header offset"))?;
        if end > self.bytes.len() {
            return Err(ElfError::Truncated("program headers"));
        }
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
        let end = self.phoff.saturating_add(self.phnum * PHDR_SIZE);
        self.bytes.get(self.phoff..end).unwrap_or(&[]).chunks_exact(PHDR_SIZE)
    }

    fn segment_data(self, header: &[u8]) -> Option<&'a [u8]> {
        let offset = usize::try_from(u64_at(header, 8)?).ok()?;
        let size = usize::try_from(u64_at(header, 32)?).ok()?;
        self.bytes.get(offset..offset.checked_add(size)?)
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
        let sections = self.section_headers().filter(|h| u32_at(h, 4) == Some(SHT_NOTE));
        let in_segments = segments.filter_map(move |h| self.segment_data(h));
        let in_sections = sections.filter_map(move |h| {
            let offset = usize::try_from(u64_at(h, 24)?).ok()?;
            let size = usize::try_from(u64_at(h, 32)?).ok()?;
            self.bytes.get(offset..offset.checked_add(size)?)
        });
        in_segments.chain(in_sections).flat_map(|bytes| Notes { bytes })
    }

    fn section_headers(self) -> impl Iterator<Item = &'a [u8]> {
        let end = self.shoff.saturating_add(self.shnum * SHDR_SIZE);
        self.bytes.get(self.shoff..end).unwrap_or(&[]).chunks_exact(SHDR_SIZE)
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
