//! The console ring: one page shared with the guest, who may write anything into it at any moment.
//!
//! Two byte rings lie in the page, each with a count of bytes ever produced and one of bytes ever consumed. The daemon
//! reads each index once, checks it, and works on the copy. What it cannot believe it names, and touches nothing.

use std::fmt;
use std::ops::Range;

/// Bytes of the ring that the guest reads (what a person types).
pub const IN_SIZE: u32 = 1024;
/// Bytes of the ring that the guest writes (what it prints).
pub const OUT_SIZE: u32 = 2048;

const IN_AT: usize = 0;
const OUT_AT: usize = IN_SIZE as usize;
const IN_CONS: usize = OUT_AT + OUT_SIZE as usize;
const IN_PROD: usize = IN_CONS + 4;
const OUT_CONS: usize = IN_PROD + 4;
const OUT_PROD: usize = OUT_CONS + 4;

/// A page of memory that somebody else writes, too. Nothing read twice need be the same.
pub trait SharedPage {
    /// A 32-bit word at `offset`; what the other side wrote before it is seen by later reads (acquire).
    fn load(&self, offset: usize) -> u32;
    /// Writes a 32-bit word at `offset`, after all earlier reads and writes (release).
    fn store(&self, offset: usize, value: u32);
    /// Copies bytes out of the page.
    fn read(&self, offset: usize, into: &mut [u8]);
    /// Copies bytes into the page.
    fn write(&self, offset: usize, from: &[u8]);
}

impl<P: SharedPage> SharedPage for &P {
    fn load(&self, offset: usize) -> u32 {
        (**self).load(offset)
    }
    fn store(&self, offset: usize, value: u32) {
        (**self).store(offset, value);
    }
    fn read(&self, offset: usize, into: &mut [u8]) {
        (**self).read(offset, into);
    }
    fn write(&self, offset: usize, from: &[u8]) {
        (**self).write(offset, from);
    }
}

/// Indexes that no honest guest writes: more bytes in a ring than it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrupt {
    /// `in` or `out`.
    pub ring: &'static str,
    /// The count of bytes produced, as read.
    pub produced: u32,
    /// The count of bytes consumed, as read.
    pub consumed: u32,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            ring,
            produced,
            consumed,
        } = self;
        write!(
            f,
            "the guest broke its console's {ring} ring (produced {produced:#x}, consumed {consumed:#x})"
        )
    }
}

/// How many bytes lie between two free-running counts, if a ring of `size` can hold as many.
fn filled(ring: &'static str, size: u32, produced: u32, consumed: u32) -> Result<u32, Corrupt> {
    let count = produced.wrapping_sub(consumed);
    if count > size {
        return Err(Corrupt {
            ring,
            produced,
            consumed,
        });
    }
    Ok(count)
}

/// Where in a ring of `size` bytes (a power of two) `count` bytes from `index` on lie: one range, or two if they wrap.
fn spans(size: u32, index: u32, count: u32) -> [Range<usize>; 2] {
    let start = (index & (size - 1)) as usize;
    let (size, count) = (size as usize, count as usize);
    let first = count.min(size - start);
    [start..start + first, 0..count - first]
}

/// A guest's console ring, seen from the daemon.
#[derive(Debug)]
pub struct Ring<P> {
    page: P,
}

impl<P: SharedPage> Ring<P> {
    /// Takes the mapped page. Whatever is in the rings stays there.
    pub fn new(page: P) -> Self {
        Self { page }
    }

    /// Appends what the guest has printed to `into` and leaves it in the ring: [`Ring::release`] gives the room back,
    /// once the bytes are where a crash of this daemon cannot lose them. At most [`OUT_SIZE`] bytes.
    pub fn peek(&self, into: &mut Vec<u8>) -> Result<usize, Corrupt> {
        let consumed = self.page.load(OUT_CONS);
        let produced = self.page.load(OUT_PROD);
        let count = filled("out", OUT_SIZE, produced, consumed)?;
        for span in spans(OUT_SIZE, consumed, count) {
            let old = into.len();
            into.resize(old + span.len(), 0);
            self.page.read(OUT_AT + span.start, &mut into[old..]);
        }
        Ok(count as usize)
    }

    /// Gives `count` bytes, as [`Ring::peek`] returned them, back to the guest.
    pub fn release(&self, count: usize) {
        let count = u32::try_from(count).unwrap_or(OUT_SIZE).min(OUT_SIZE);
        let consumed = self.page.load(OUT_CONS);
        self.page.store(OUT_CONS, consumed.wrapping_add(count));
    }

    /// How many bytes the guest's input has room for.
    pub fn room(&self) -> Result<usize, Corrupt> {
        let consumed = self.page.load(IN_CONS);
        let produced = self.page.load(IN_PROD);
        let count = filled("in", IN_SIZE, produced, consumed)?;
        Ok((IN_SIZE - count) as usize)
    }

    /// Gives the guest as many of `bytes` as there is room for, and says how many.
    pub fn put(&self, bytes: &[u8]) -> Result<usize, Corrupt> {
        let consumed = self.page.load(IN_CONS);
        let produced = self.page.load(IN_PROD);
        let room = IN_SIZE - filled("in", IN_SIZE, produced, consumed)?;
        let count = u32::try_from(bytes.len()).unwrap_or(room).min(room);
        let mut rest = &bytes[..count as usize];
        for span in spans(IN_SIZE, produced, count) {
            let (now, later) = rest.split_at(span.len());
            self.page.write(IN_AT + span.start, now);
            rest = later;
        }
        self.page.store(IN_PROD, produced.wrapping_add(count));
        Ok(count as usize)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;
    use crate::fake::Page;

    /// What an honest guest does: reads all that was typed.
    fn type_read(page: &Page) -> Vec<u8> {
        let (mut consumed, produced) = (page.load(IN_CONS), page.load(IN_PROD));
        let mut out = Vec::new();
        while consumed != produced {
            let mut byte = [0];
            page.read(IN_AT + (consumed % IN_SIZE) as usize, &mut byte);
            out.push(byte[0]);
            consumed = consumed.wrapping_add(1);
        }
        page.store(IN_CONS, consumed);
        out
    }

    #[test]
    fn the_page_is_laid_out_as_the_header_says() {
        assert_eq!((IN_CONS, IN_PROD, OUT_CONS, OUT_PROD), (3072, 3076, 3080, 3084));
    }

    #[test]
    fn too_many_bytes_are_refused_and_left_alone() {
        let page = Page::new();
        page.store(OUT_PROD, OUT_SIZE + 1);
        let ring = Ring::new(&page);
        let mut out = Vec::new();
        let error = ring.peek(&mut out).expect_err("2049 bytes in a ring of 2048");
        assert_eq!((error.ring, error.produced, out.len()), ("out", OUT_SIZE + 1, 0));
        page.store(OUT_PROD, OUT_SIZE);
        assert_eq!(ring.peek(&mut out), Ok(OUT_SIZE as usize));
    }

    #[test]
    fn what_is_not_released_is_seen_again() {
        let page = Page::new();
        page.print(b"last words");
        let mut first = Vec::new();
        Ring::new(&page).peek(&mut first).expect("sane");
        let mut again = Vec::new();
        let ring = Ring::new(&page);
        ring.peek(&mut again).expect("sane");
        assert_eq!(
            (first.as_slice(), again.as_slice()),
            (&b"last words"[..], &b"last words"[..])
        );
        ring.release(again.len());
        assert_eq!(ring.peek(&mut again), Ok(0));
    }

    proptest! {
        #[test]
        fn bytes_arrive_in_order_from_any_index(start: u32, steps in prop::collection::vec((any::<bool>(), 0usize..3000), 1..40)) {
            let page = Page::new();
            for offset in [IN_CONS, IN_PROD, OUT_CONS, OUT_PROD] {
                page.store(offset, start);
            }
            let ring = Ring::new(&page);
            let (mut printed, mut seen, mut typed, mut read) = (VecDeque::<u8>::new(), Vec::new(), VecDeque::<u8>::new(), Vec::new());
            let mut next = 0u8;
            for (out, count) in steps {
                let bytes: Vec<u8> = (0..count).map(|_| { next = next.wrapping_add(1); next }).collect();
                if out {
                    let done = page.print(&bytes);
                    printed.extend(&bytes[..done]);
                    let had = seen.len();
                    let took = ring.peek(&mut seen).expect("honest");
                    prop_assert_eq!(took, seen.len() - had);
                    ring.release(took);
                } else {
                    let done = ring.put(&bytes).expect("honest");
                    prop_assert_eq!(done, count.min(IN_SIZE as usize));
                    typed.extend(&bytes[..done]);
                    read.extend(type_read(&page));
                    prop_assert_eq!(ring.room(), Ok(IN_SIZE as usize));
                }
            }
            prop_assert_eq!(Vec::from(printed), seen);
            prop_assert_eq!(Vec::from(typed), read);
        }

        #[test]
        fn no_index_leads_outside_the_page(words: [u32; 4], bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
            let page = Page::new();
            for (offset, word) in [IN_CONS, IN_PROD, OUT_CONS, OUT_PROD].into_iter().zip(words) {
                page.store(offset, word);
            }
            let ring = Ring::new(&page);
            let mut out = Vec::new();
            let took = ring.peek(&mut out);
            prop_assert!(out.len() <= OUT_SIZE as usize);
            prop_assert_eq!(took.is_ok(), words[3].wrapping_sub(words[2]) <= OUT_SIZE);
            ring.release(out.len());
            let put = ring.put(&bytes);
            prop_assert_eq!(put.is_ok(), words[1].wrapping_sub(words[0]) <= IN_SIZE);
            // Neither ring's indexes spoil the other's, nor what lies behind them in the page.
            prop_assert_eq!(page.load(IN_CONS), words[0]);
            prop_assert_eq!(page.load(OUT_PROD), words[3]);
            let mut behind = [1; 4096 - OUT_PROD - 4];
            page.read(OUT_PROD + 4, &mut behind);
            prop_assert!(behind.iter().all(|&byte| byte == 0));
        }
    }
}
