//! A kernel as the builder needs it: what its notes ask for, and the pages that are not zero.

use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use kernel_image::bytes::u64_at;
use kernel_image::{Elf, ElfError, NotesError, Role, XenNotes};
use xenctrl_core::{Mapped, PAGE_SIZE};

/// Largest kernel in memory, in bytes.
const MOST: u64 = 1 << 30;
/// Stored kernels begin with this; the number is the version of their form.
const MAGIC: u64 = u64::from_le_bytes(*b"PVKERN01");
/// What stands for "none" in the words of a stored kernel.
const NONE: u64 = u64::MAX;
/// Words before the runs.
const HEADER_WORDS: usize = 9;

/// Why a file is no kernel for a PV guest.
#[derive(Debug)]
pub enum KernelError {
    /// The executable.
    Elf(ElfError),
    /// Its Xen notes.
    Notes(NotesError),
    /// Segments that lie before the start of memory, or more than 1 GiB apart.
    Place,
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elf(error) => error.fmt(f),
            Self::Notes(error) => error.fmt(f),
            Self::Place => write!(f, "its segments lie below PADDR_OFFSET or more than 1 GiB apart"),
        }
    }
}

impl core::error::Error for KernelError {}

/// Frames of the kernel that have contents, one run of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    /// First frame.
    pub(crate) pfn: u64,
    /// How many.
    pub(crate) count: u64,
}

#[derive(Debug)]
enum Pages<M> {
    Owned(Vec<u8>),
    /// In a mapped file, from an offset on.
    Mapped(M, usize),
}

/// A kernel that can be built into a guest; `M` are mappings, where its stored form may lie.
#[derive(Debug)]
pub struct Kernel<M> {
    notes: XenNotes,
    /// First frame that it takes.
    first: u64,
    /// First frame behind it.
    end: u64,
    /// Ascending.
    runs: Vec<Run>,
    /// The runs' pages, one behind the other.
    pages: Pages<M>,
}

impl<M: Mapped> Kernel<M> {
    /// From an ELF file.
    ///
    /// # Errors
    /// Why it cannot be started as a PV guest.
    pub fn from_elf(file: &[u8]) -> Result<Self, KernelError> {
        let elf = Elf::parse(file).map_err(KernelError::Elf)?;
        let notes = XenNotes::parse(elf, Role::DomU).map_err(KernelError::Notes)?;
        let page = PAGE_SIZE as u64;
        let (low, high) = elf.extent();
        let first = low.checked_sub(notes.paddr_offset).ok_or(KernelError::Place)? / page;
        let end = (high - notes.paddr_offset).div_ceil(page);
        if (end - first) * page > MOST {
            return Err(KernelError::Place);
        }
        let mut flat = vec![0u8; ((end - first) * page) as usize];
        for segment in elf.segments() {
            let at = (segment.paddr - notes.paddr_offset - first * page) as usize;
            flat[at..at + segment.data.len()].copy_from_slice(segment.data);
        }
        let (runs, pages) = squeeze(flat, first);
        Ok(Self {
            notes,
            first,
            end,
            runs,
            pages: Pages::Owned(pages),
        })
    }

    /// What its notes ask for.
    pub fn notes(&self) -> &XenNotes {
        &self.notes
    }

    /// First frame behind the kernel.
    pub fn end_pfn(&self) -> u64 {
        self.end
    }

    /// Its frames that have contents.
    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// All its frames, those without contents too.
    pub(crate) fn frames(&self) -> core::ops::Range<u64> {
        self.first..self.end
    }

    /// Copies the pages of all runs, one behind the other, into a mapping that begins with them.
    pub(crate) fn copy_pages(&self, into: &M) {
        match &self.pages {
            Pages::Owned(pages) => into.write(0, pages),
            Pages::Mapped(file, offset) => into.copy_from(0, file, *offset, file.len() - offset),
        }
    }

    /// Bytes in its runs.
    fn pages_len(&self) -> u64 {
        self.runs.iter().map(|run| run.count * PAGE_SIZE as u64).sum()
    }

    /// The stored form, to be written to a file: a header of whole pages, and the pages themselves.
    pub fn to_stored(&self) -> (Vec<u8>, Cow<'_, [u8]>) {
        let notes = &self.notes;
        let mut words = vec![
            MAGIC,
            notes.entry,
            notes.virt_base,
            notes.hypercall_page.unwrap_or(NONE),
            notes.init_p2m.unwrap_or(NONE),
            notes.mod_start_pfn.into(),
            self.first,
            self.end,
            self.runs.len() as u64,
        ];
        words.extend(self.runs.iter().flat_map(|run| [run.pfn, run.count]));
        let mut header: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        header.resize(header.len().next_multiple_of(PAGE_SIZE), 0);
        let pages = match &self.pages {
            Pages::Owned(owned) => Cow::Borrowed(owned.as_slice()),
            Pages::Mapped(file, offset) => {
                let mut pages = vec![0; self.pages_len() as usize];
                file.read(*offset, &mut pages);
                Cow::Owned(pages)
            }
        };
        (header, pages)
    }

    /// From the stored form, which stays mapped; none where it is damaged or of another version.
    pub fn from_stored(file: M) -> Option<Self> {
        let words = |at: usize, count: usize| {
            let end = at.checked_add(count)?.checked_mul(8)?;
            if end > file.len() {
                return None;
            }
            let mut bytes = vec![0; count * 8];
            file.read(at * 8, &mut bytes);
            let word = |index| u64_at(&bytes, index * 8);
            (0..count).map(word).collect::<Option<Vec<u64>>>()
        };
        let header = words(0, HEADER_WORDS)?;
        if header[0] != MAGIC {
            return None;
        }
        let optional = |word: u64| (word != NONE).then_some(word);
        let (first, end) = (header[6], header[7]);
        let count = usize::try_from(header[8]).ok()?;
        let list = words(HEADER_WORDS, count.checked_mul(2)?)?;
        let runs: Vec<Run> = list
            .chunks_exact(2)
            .map(|pair| Run {
                pfn: pair[0],
                count: pair[1],
            })
            .collect();
        let mut next = first;
        for run in &runs {
            if run.pfn < next || run.count == 0 {
                return None;
            }
            next = run.pfn.checked_add(run.count)?;
        }
        if next > end || end.checked_sub(first)? > MOST / PAGE_SIZE as u64 {
            return None;
        }
        let offset = ((HEADER_WORDS + 2 * count) * 8).next_multiple_of(PAGE_SIZE);
        let kernel = Self {
            notes: XenNotes {
                entry: header[1],
                virt_base: header[2],
                paddr_offset: 0,
                hypercall_page: optional(header[3]),
                init_p2m: optional(header[4]),
                mod_start_pfn: header[5] != 0,
            },
            first,
            end,
            runs,
            pages: Pages::Mapped(file, offset),
        };
        match &kernel.pages {
            Pages::Mapped(file, _) if offset as u64 + kernel.pages_len() == file.len() as u64 => Some(kernel),
            _ => None,
        }
    }
}

/// Takes the pages that are zero out of `flat`, which begins with frame `first`; the others move together.
fn squeeze(mut flat: Vec<u8>, first: u64) -> (Vec<Run>, Vec<u8>) {
    let mut runs: Vec<Run> = Vec::new();
    let mut kept = 0;
    for index in 0..flat.len() / PAGE_SIZE {
        let range = index * PAGE_SIZE..(index + 1) * PAGE_SIZE;
        // By words: an emulated CPU compares bytes one by one.
        if flat[range.clone()].chunks_exact(8).all(|word| word == [0; 8]) {
            continue;
        }
        flat.copy_within(range, kept);
        kept += PAGE_SIZE;
        let pfn = first + index as u64;
        match runs.last_mut() {
            Some(run) if run.pfn + run.count == pfn => run.count += 1,
            _ => runs.push(Run { pfn, count: 1 }),
        }
    }
    flat.truncate(kept);
    (runs, flat)
}
