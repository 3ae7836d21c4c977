//! The guest's own list of its frames, which it shows by its shared page: the k-th word is the machine frame of its k-th
//! frame. It lies in the guest's memory and says what the guest likes; the hypervisor refuses what is not the guest's.

use anyhow::{Context, Result, bail, ensure};
use migration_stream::PAGE_SIZE;
use xenctrl::{DomId, Hypervisor};

/// Words of a page.
const WORDS: usize = PAGE_SIZE / 8;
/// Offsets in the shared page.
const ARCH: usize = 3088;
const MAX_PFN: usize = ARCH;
const LIST_LIST: usize = ARCH + 8;
const P2M_CR3: usize = ARCH + 24;
const P2M_VADDR: usize = ARCH + 32;
/// Words with one of these bits name no frame of the guest's.
const NO_FRAME: u64 = 3 << 62;
const PRESENT: u64 = 1;
const FRAME: u64 = 0x000f_ffff_ffff_f000;
/// What no frame is.
pub const INVALID: u64 = u64::MAX;

/// How many frames a guest's list may speak of that may have `pages` pages: holes are possible, for devices.
pub fn most_frames(pages: u64) -> u64 {
    pages.saturating_mul(4).saturating_add(1 << 21).min(1 << 31)
}

/// The list as it was when it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GuestList {
    /// Machine frame of each frame; [`INVALID`] where there is none.
    mfns: Vec<u64>,
    /// Machine frames that hold the list.
    holders: Vec<u64>,
    /// Machine frame and frame, ascending.
    back: Vec<(u64, u32)>,
}

impl GuestList {
    /// Reads the list of a domain.
    pub fn read(hypervisor: &dyn Hypervisor, domid: DomId) -> Result<Self> {
        let holders = find_holders(hypervisor, domid).context("the guest's list of its frames")?;
        let (count, holders) = holders;
        let mut bytes = vec![0; holders.len() * PAGE_SIZE];
        for (frames, bytes) in holders.chunks(1024).zip(bytes.chunks_mut(1024 * PAGE_SIZE)) {
            hypervisor.map_foreign(domid, frames, false)?.read(0, bytes);
        }
        let words = bytes.chunks_exact(8).take(count).map(word);
        Ok(Self::new(
            words
                .map(|mfn| if mfn & NO_FRAME == 0 { mfn } else { INVALID })
                .collect(),
            holders,
        ))
    }

    fn new(mfns: Vec<u64>, holders: Vec<u64>) -> Self {
        let mut back: Vec<(u64, u32)> = (0u32..)
            .zip(&mfns)
            .filter(|(_, mfn)| **mfn != INVALID)
            .map(|(pfn, mfn)| (*mfn, pfn))
            .collect();
        back.sort_unstable();
        Self { mfns, holders, back }
    }

    /// Frames that the list speaks of.
    pub fn len(&self) -> usize {
        self.mfns.len()
    }

    /// The machine frame of a frame.
    pub fn mfn(&self, pfn: u64) -> Option<u64> {
        let mfn = *self.mfns.get(usize::try_from(pfn).ok()?)?;
        (mfn != INVALID).then_some(mfn)
    }

    /// The frame of a machine frame.
    pub fn pfn(&self, mfn: u64) -> Option<u64> {
        let at = self.back.partition_point(|(of, _)| *of < mfn);
        self.back
            .get(at)
            .filter(|(of, _)| *of == mfn)
            .map(|(_, pfn)| u64::from(*pfn))
    }

    /// The frames that hold the list.
    pub fn holders(&self) -> Result<Vec<u64>> {
        let pfn = |mfn: &u64| {
            self.pfn(*mfn)
                .with_context(|| format!("the guest's list of its frames lies in frame {mfn:#x}, which is not in it"))
        };
        self.holders.iter().map(pfn).collect()
    }
}

fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

/// How many frames the list speaks of, and the machine frames that hold it.
fn find_holders(hypervisor: &dyn Hypervisor, domid: DomId) -> Result<(usize, Vec<u64>)> {
    let info = hypervisor.domain_info(domid)?;
    let shared = read_page(hypervisor, domid, info.shared_info_frame)?;
    let field = |at: usize| word(&shared[at..at + 8]);
    let count = field(MAX_PFN);
    ensure!(
        count != 0,
        "the guest has not said where it is: it has not come up yet, or its kernel cannot be saved"
    );
    let most = most_frames(info.max_pages);
    ensure!(
        count <= most,
        "the guest claims {count:#x} frames; {most:#x} are the most for its memory"
    );
    let count = usize::try_from(count)?;
    let pages = count.div_ceil(WORDS);
    let holders = if field(P2M_CR3) != 0 {
        walk(hypervisor, domid, field(P2M_CR3), field(P2M_VADDR), pages)?
    } else {
        follow(hypervisor, domid, field(LIST_LIST), pages)?
    };
    Ok((count, holders))
}

fn read_page(hypervisor: &dyn Hypervisor, domid: DomId, mfn: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; PAGE_SIZE];
    hypervisor.map_foreign(domid, &[mfn], false)?.read(0, &mut bytes);
    Ok(bytes)
}

/// The frames behind `pages` virtual pages from `start` on, in the address space of `cr3`.
fn walk(hypervisor: &dyn Hypervisor, domid: DomId, cr3: u64, start: u64, pages: usize) -> Result<Vec<u64>> {
    let mut holders = Vec::with_capacity(pages);
    // The table of each level that was looked at last, by the bits of the address that lead to it.
    let mut known: [Option<(u64, Vec<u8>)>; 4] = Default::default();
    for page in 0..pages as u64 {
        let Some(address) = page
            .checked_mul(PAGE_SIZE as u64)
            .and_then(|more| start.checked_add(more))
        else {
            bail!("the list goes over the end of the address space");
        };
        let mut frame = (cr3 & FRAME) >> 12;
        for level in (0..4usize).rev() {
            let prefix = address >> (12 + 9 * (level + 1)) & ((1 << 48) - 1);
            let table = match &mut known[level] {
                Some((of, table)) if *of == prefix => table,
                slot => &mut slot.insert((prefix, read_page(hypervisor, domid, frame)?)).1,
            };
            let index = (address >> (12 + 9 * level)) as usize % WORDS;
            let entry = word(&table[index * 8..index * 8 + 8]);
            ensure!(
                entry & PRESENT != 0,
                "address {address:#x} of the list is not mapped (level {})",
                level + 1
            );
            frame = (entry & FRAME) >> 12;
        }
        holders.push(frame);
    }
    Ok(holders)
}

/// The frames of the list by the older way: a page that names pages that name its pages.
fn follow(hypervisor: &dyn Hypervisor, domid: DomId, first: u64, pages: usize) -> Result<Vec<u64>> {
    ensure!(
        pages <= WORDS * WORDS && first != 0 && first & NO_FRAME == 0,
        "the guest says neither where its list is mapped nor which frames hold it"
    );
    let top = read_page(hypervisor, domid, first)?;
    let mut holders = Vec::with_capacity(pages);
    for middle in top.chunks_exact(8).take(pages.div_ceil(WORDS)).map(word) {
        let names = read_page(hypervisor, domid, middle)?;
        holders.extend(names.chunks_exact(8).map(word));
    }
    holders.truncate(pages);
    Ok(holders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_both_ways() {
        let list = GuestList::new(vec![50, INVALID, 7, 50], vec![7]);
        assert_eq!(
            (list.mfn(0), list.mfn(1), list.mfn(2), list.mfn(9)),
            (Some(50), None, Some(7), None)
        );
        assert_eq!((list.pfn(7), list.pfn(50), list.pfn(8)), (Some(2), Some(0), None));
        assert_eq!(list.holders().expect("known"), [2]);
        assert!(GuestList::new(vec![1], vec![9]).holders().is_err());
    }
}
