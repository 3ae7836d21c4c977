//! Entries in the granter's frames. The guest writes them too, at any time, so they are only accessed by atomics.

use crate::mm;
use crate::mm::frame::Mfn;
use crate::mm::layout::PAGE_SIZE;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64};
use xen_logic::grant::{v1, v2};

/// Entries of version 1 in a frame.
pub(super) const PER_FRAME_1: u32 = (PAGE_SIZE / 8) as u32;
/// Entries of version 2 in a frame.
pub(super) const PER_FRAME_2: u32 = (PAGE_SIZE / 16) as u32;
/// Status words in a frame.
pub(super) const STATUS_PER_FRAME: u32 = (PAGE_SIZE / 2) as u32;

/// An entry of version 1; the lifetime is that of the lock on its table, which keeps the frame.
pub(super) struct EntryV1<'a>(&'a [AtomicU32; 2]);

/// An entry of version 2, and its status.
pub(super) struct EntryV2<'a> {
    words: &'a [AtomicU32; 4],
    frame: &'a AtomicU64,
    status: &'a AtomicU16,
}

/// The `index`th `T` in a frame of the table, where `index` counts over all such frames.
fn at<T>(frames: &[Mfn], index: u32) -> Option<&T> {
    const { assert!(align_of::<T>() <= size_of::<T>() && PAGE_SIZE.is_multiple_of(size_of::<T>() as u64)) };
    let per_frame = (PAGE_SIZE / size_of::<T>() as u64) as u32;
    let mfn = *frames.get((index / per_frame) as usize)?;
    let place = mm::directmap(mfn.maddr()).cast::<T>();
    // SAFETY: the frame is the hypervisor's until it is taken out of the table, which `frames` is borrowed from under
    // its lock; the index is within it; this module names atomic types only.
    Some(unsafe { &*place.add((index % per_frame) as usize) })
}

impl<'a> EntryV1<'a> {
    /// Entry `gref` of a table with these frames.
    pub(super) fn new(frames: &'a [Mfn], gref: u32) -> Option<Self> {
        at(frames, gref).map(Self)
    }

    /// Writes the whole entry. The head goes last: it is what makes the entry valid.
    pub(super) fn write(&self, head: u32, frame: u32) {
        self.0[1].store(frame, Relaxed);
        self.0[0].store(head, SeqCst);
    }

    /// Writes the frame.
    pub(super) fn set_frame(&self, frame: u32) {
        self.0[1].store(frame, SeqCst);
    }

    /// Sets bits of the head.
    pub(super) fn set_head(&self, bits: u32) {
        self.0[0].fetch_or(bits, SeqCst);
    }
}

impl<'a> EntryV2<'a> {
    /// Entry `gref` of a table with these frames.
    pub(super) fn new(frames: &'a [Mfn], status: &'a [Mfn], gref: u32) -> Option<Self> {
        Some(Self {
            words: at(frames, gref)?,
            frame: at(frames, gref.checked_mul(2)?.checked_add(1)?)?,
            status: at(status, gref)?,
        })
    }

    /// Writes the whole entry and its status.
    pub(super) fn write(&self, head: u32, frame: u64, status: u16) {
        self.words[1].store(0, Relaxed);
        self.frame.store(frame, Relaxed);
        self.status.store(status, SeqCst);
        self.words[0].store(head, SeqCst);
    }

    /// The status.
    pub(super) fn status(&self) -> u16 {
        self.status.load(SeqCst)
    }

    /// Changes the head from `old` to `new`, or says what it is.
    pub(super) fn exchange_head(&self, old: u32, new: u32) -> Result<(), u32> {
        self.words[0].compare_exchange(old, new, SeqCst, SeqCst).map(drop)
    }

    /// Writes the frame.
    pub(super) fn set_frame(&self, frame: u64) {
        self.frame.store(frame, SeqCst);
    }

    /// Sets bits of the head.
    pub(super) fn set_head(&self, bits: u32) {
        self.words[0].fetch_or(bits, SeqCst);
    }
}

impl v1::Entry for EntryV1<'_> {
    #[inline(always)]
    fn head(&self) -> u32 {
        self.0[0].load(Acquire)
    }

    #[inline(always)]
    fn exchange_head(&self, old: u32, new: u32) -> Result<(), u32> {
        self.0[0].compare_exchange(old, new, AcqRel, Acquire).map(drop)
    }

    #[inline(always)]
    fn clear_marks(&self, marks: u16) {
        self.0[0].fetch_and(!(marks as u32), AcqRel);
    }

    #[inline(always)]
    fn frame(&self) -> u32 {
        self.0[1].load(Acquire)
    }
}

impl v2::Entry for EntryV2<'_> {
    #[inline(always)]
    fn head(&self) -> u32 {
        self.words[0].load(SeqCst)
    }

    #[inline(always)]
    fn word(&self) -> u32 {
        self.words[1].load(Acquire)
    }

    #[inline(always)]
    fn frame(&self) -> u64 {
        self.frame.load(Acquire)
    }

    #[inline(always)]
    fn set_marks(&self, marks: u16) {
        self.status.fetch_or(marks, SeqCst);
    }

    #[inline(always)]
    fn clear_marks(&self, marks: u16) {
        self.status.fetch_and(!marks, SeqCst);
    }
}

/// Entry `index` of eight bytes anywhere in the table, for moving whole entries.
pub(super) fn word_pair(frames: &[Mfn], index: u32) -> Option<&AtomicU64> {
    at(frames, index)
}
