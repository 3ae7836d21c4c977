//! Memory that other domains may write at the same time.
use core::sync::atomic::{AtomicU32, Ordering};

/// Bytes of a page.
pub const PAGE_SIZE: usize = 4096;
/// Words of a page.
pub const PAGE_WORDS: usize = PAGE_SIZE / 4;

/// Whole pages of memory that other domains may read and write at any time.
///
/// Offsets are in bytes from the first page's beginning and run through all pages. They are the caller's: an offset
/// beyond the end panics as an index into a slice does, so none that a peer gave is used unchecked.
///
/// An implementer provides [`page_count`](Memory::page_count) and [`page`](Memory::page); a machine that can copy bytes
/// faster than by words overrides [`read`](Memory::read), [`write`](Memory::write) and [`fill`](Memory::fill) too.
pub trait Memory {
    /// Number of pages.
    fn page_count(&self) -> usize;

    /// The words of one page.
    ///
    /// # Panics
    /// There is no such page.
    fn page(&self, index: usize) -> &[AtomicU32; PAGE_WORDS];

    /// Number of bytes.
    fn byte_count(&self) -> usize {
        self.page_count() * PAGE_SIZE
    }

    /// The word at an offset.
    ///
    /// # Panics
    /// The offset is beyond the end or no multiple of 4.
    fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4), "a word at offset {offset}");
        &self.page(offset / PAGE_SIZE)[offset % PAGE_SIZE / 4]
    }

    /// Reads a word; panics as [`word`](Memory::word).
    fn load_u32(&self, offset: usize, order: Ordering) -> u32 {
        self.word(offset).load(order)
    }

    /// Writes a word; panics as [`word`](Memory::word).
    fn store_u32(&self, offset: usize, value: u32, order: Ordering) {
        self.word(offset).store(value, order)
    }

    /// Copies bytes out, each byte of memory read once. Another domain's writes meanwhile may show in part; ordering
    /// against them comes from the index that was loaded before.
    ///
    /// # Panics
    /// The range reaches beyond the end.
    fn read(&self, offset: usize, into: &mut [u8]) {
        copy_words(offset, into.len(), |word, start, range| {
            let value = self.load_u32(word, Ordering::Relaxed).to_le_bytes();
            into[range.clone()].copy_from_slice(&value[start..start + range.len()]);
        });
    }

    /// Copies bytes in; they are visible to another domain once an index is stored with [`Ordering::Release`]. Bytes
    /// beside the range, down to its first and up to its last multiple of 4, may be rewritten with what they were.
    ///
    /// # Panics
    /// The range reaches beyond the end.
    fn write(&self, offset: usize, from: &[u8]) {
        copy_words(offset, from.len(), |word, start, range| {
            let mut value = match range.len() {
                4 => [0; 4],
                _ => self.load_u32(word, Ordering::Relaxed).to_le_bytes(),
            };
            value[start..start + range.len()].copy_from_slice(&from[range]);
            self.store_u32(word, u32::from_le_bytes(value), Ordering::Relaxed);
        });
    }

    /// Sets `length` bytes to `value`; otherwise as [`write`](Memory::write).
    fn fill(&self, offset: usize, length: usize, value: u8) {
        let block = [value; 64];
        let mut done = 0;
        while done < length {
            let now = block.len().min(length - done);
            self.write(offset + done, &block[..now]);
            done += now;
        }
    }
}

/// Walks the words that a range of bytes touches: each word's offset, the first byte within it, and the part of the
/// range that lies there, counted from the range's beginning.
fn copy_words(offset: usize, length: usize, mut each: impl FnMut(usize, usize, core::ops::Range<usize>)) {
    let mut done = 0;
    while done < length {
        let at = offset + done;
        let start = at % 4;
        let now = (4 - start).min(length - done);
        each(at - start, start, done..done + now);
        done += now;
    }
}
