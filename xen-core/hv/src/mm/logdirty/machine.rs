//! The machine as the rules of tracking see it.

use crate::domain::Domain;
use crate::mm::frame::{self, Mfn, Type};
use crate::mm::{alloc, flush, m2p};
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use xen_logic::logdirty::Machine;

/// The machine, for the tracker of this domain.
pub(super) struct Hardware<'a>(pub(super) &'a Domain);

fn entry(frame: u32) -> &'static frame::FrameInfo {
    frame::entry(Mfn(frame.into()))
}

impl Machine for Hardware<'_> {
    fn read(&self, table: u32, index: usize) -> u64 {
        entry(table).word(index).load(Acquire)
    }

    fn exchange(&self, table: u32, index: usize, old: u64, new: u64) -> bool {
        let word = entry(table).word(index);
        word.compare_exchange(old, new, AcqRel, Relaxed).is_ok()
    }

    fn write(&self, shadow: u32, index: usize, value: u64) {
        entry(shadow).word(index).store(value, Release);
    }

    fn is_table(&self, frame: u32, level: u8) -> bool {
        let Some(info) = frame::any(Mfn(frame.into())) else {
            return false;
        };
        Type::of_level(level).is_some_and(|typ| info.type_word().is(typ)) && info.is_owned_by(self.0)
    }

    fn pfn(&self, frame: u64) -> Option<u64> {
        let info = frame::info(Mfn(frame))?;
        // What the hypervisor shares with the domain is not among its pages: toolstacks make it anew.
        if !info.is_owned_by(self.0) || info.count_word().is_shared() {
            return None;
        }
        Some(m2p::get(Mfn(frame))).filter(|pfn| *pfn != m2p::INVALID)
    }

    fn allocate(&mut self) -> Option<u32> {
        alloc::alloc_table().map(|mfn| mfn.0 as u32)
    }

    fn free(&mut self, frame: u32) {
        alloc::free_pages(Mfn(frame.into()), 0);
    }

    fn flush(&mut self) {
        flush::flush_tlb_mask(self.0.dirty_cpus.load(SeqCst));
    }
}
