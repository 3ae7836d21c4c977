//! Dom0's frames, by their pseudo-physical numbers.

use super::BuildError;
use crate::domain::Domain;
use crate::mm;
use crate::mm::frame::Mfn;
use crate::mm::layout::PAGE_SIZE;
use alloc::vec::Vec;
use zerocopy::IntoBytes;

/// Largest piece asked of the allocator: 1 GiB.
const MAX_ORDER: u32 = 18;

/// Frames that follow each other both in pseudo-physical and in machine memory.
struct Run {
    pfn: u64,
    mfn: u64,
    count: u64,
}

/// The domain's memory at its start: pseudo-physical frames 0 to `nr_pages`, without holes.
pub(super) struct Memory {
    runs: Vec<Run>,
    /// How many frames.
    pub(super) nr_pages: u64,
}

impl Memory {
    /// Takes `nr_pages` frames for `domain`, in pieces as large as can be had, and enters them in the
    /// machine-to-physical table.
    pub(super) fn allocate(domain: &Domain, nr_pages: u64) -> Result<Self, BuildError> {
        let mut runs: Vec<Run> = Vec::new();
        let mut pfn = 0;
        let mut order = MAX_ORDER;
        while pfn < nr_pages {
            order = order.min((nr_pages - pfn).ilog2());
            let Ok(mfn) = mm::pages::alloc_first_pages(domain, order) else {
                order = order.checked_sub(1).ok_or(BuildError::NoMemory("Dom0"))?;
                continue;
            };
            let count = 1 << order;
            (0..count).for_each(|i| mm::m2p::set(Mfn(mfn.0 + i), pfn + i));
            match runs.last_mut() {
                Some(last) if last.mfn + last.count == mfn.0 => last.count += count,
                _ => runs.push(Run { pfn, mfn: mfn.0, count }),
            }
            pfn += count;
        }
        Ok(Self { runs, nr_pages })
    }

    /// The run that holds `pfn`, which is below `nr_pages`.
    fn run(&self, pfn: u64) -> &Run {
        &self.runs[self.runs.partition_point(|run| run.pfn <= pfn) - 1]
    }

    /// The machine frame of `pfn`, which is below `nr_pages`.
    pub(super) fn mfn(&self, pfn: u64) -> Mfn {
        let run = self.run(pfn);
        Mfn(run.mfn + pfn - run.pfn)
    }

    /// Calls `f` with each run of contiguous memory that `len` bytes from the pseudo-physical address `at` on lie in.
    /// The range lies within the memory: the layout says so.
    fn for_pieces(&self, at: u64, len: u64, mut f: impl FnMut(*mut u8, usize)) {
        let (mut at, end) = (at, at + len);
        while at < end {
            let run = self.run(at / PAGE_SIZE);
            let offset = at - run.pfn * PAGE_SIZE;
            let now = (run.count * PAGE_SIZE - offset).min(end - at);
            f(mm::directmap(run.mfn * PAGE_SIZE + offset), now as usize);
            at += now;
        }
    }

    /// Writes `bytes` to the pseudo-physical address `at`.
    pub(super) fn write(&self, at: u64, bytes: &[u8]) {
        let mut rest = bytes;
        self.for_pieces(at, bytes.len() as u64, |to, len| {
            let (now, later) = rest.split_at(len);
            // SAFETY: the frames belong to the domain, which does not run yet; the direct map covers them. The source
            // is no frame of the domain.
            unsafe { to.copy_from_nonoverlapping(now.as_ptr(), len) };
            rest = later;
        });
    }

    /// Fills `len` bytes from the pseudo-physical address `at` on with zeros.
    pub(super) fn clear(&self, at: u64, len: u64) {
        // SAFETY: as in `write`.
        self.for_pieces(at, len, |to, len| unsafe { to.write_bytes(0, len) });
    }

    /// Writes one word to entry `index` of the table in frame `pfn`.
    pub(super) fn write_word(&self, pfn: u64, index: u64, word: u64) {
        let at = mm::directmap(self.mfn(pfn).0 * PAGE_SIZE).cast::<u64>();
        // SAFETY: as in `write`; the index is reduced to the page's 512 words.
        unsafe { at.add((index % 512) as usize).write(word) };
    }

    /// Writes the list of all machine frames into the frames from `first` on.
    pub(super) fn write_p2m(&self, first: u64) {
        let mut chunk = [0u64; 256];
        for run in &self.runs {
            let mut done = 0;
            while done < run.count {
                let len = (run.count - done).min(chunk.len() as u64);
                (0..len).for_each(|i| chunk[i as usize] = run.mfn + done + i);
                self.write(
                    first * PAGE_SIZE + (run.pfn + done) * 8,
                    chunk[..len as usize].as_bytes(),
                );
                done += len;
            }
        }
    }
}
