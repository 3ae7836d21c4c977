//! Translations that CPUs keep: when they must be forgotten, and by whom.
//!
//! **Epochs.** Guests unmap lazily, so a frame may be unmapped while CPUs still remember a translation to it. That is
//! harmless until the frame gets another use or another owner. Each frame is therefore stamped with the current epoch
//! when its last use goes; each full flush of a CPU starts a new epoch and notes it as that CPU's. A CPU whose last
//! flush began after the stamp was taken remembers nothing of that time. So the change of use flushes exactly the CPUs
//! that may hold translations of the domain and have not flushed since the stamp.
//!
//! The arithmetic is `xen_logic::flush_epoch`'s.
//!
//! A CPU that leaves a domain loads another CR3, and is taken out of `dirty_cpus` after that. One that idles keeps the
//! last guest's, until somebody asks it to flush: with the table without guests it remembers nothing, whatever the stamp.

use crate::arch::x86::{cpu, mailbox, percpu, segment, smp};
use crate::domain::{Domain, context};
use crate::mm::frame::FrameInfo;
use crate::sync::PerCpu;
use crate::{per_cpu, trace};
use core::sync::atomic::{AtomicU64, Ordering};
use xen_logic::flush_epoch;

/// The number of full flushes so far, of all CPUs.
static EPOCH: AtomicU64 = AtomicU64::new(1);
/// The epoch that each CPU's last full flush started.
static LAST: PerCpu<AtomicU64> = per_cpu!(AtomicU64::new(1));

/// What to forget.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// All translations of guests.
    All,
    /// The translation of one address.
    Page(u64),
    /// Cached data of memory: write back and invalidate.
    Cache,
}

/// The present epoch, as stamps hold it.
#[inline]
pub fn epoch_now() -> u32 {
    EPOCH.load(Ordering::Acquire) as u32
}

/// The stamp of a frame that no translation leads to.
pub(super) fn never() -> u32 {
    flush_epoch::never(EPOCH.load(Ordering::Acquire))
}

/// The newer of two stamps.
pub fn newer(a: u32, b: u32) -> u32 {
    flush_epoch::newer(a, b, EPOCH.load(Ordering::Acquire))
}

/// May CPU `cpu` remember translations of the time of this stamp?
#[inline]
pub fn needs_flush(stamp: u32, cpu: usize) -> bool {
    let now = EPOCH.load(Ordering::Acquire);
    flush_epoch::needs_flush(stamp, now, LAST.of(cpu).load(Ordering::Acquire))
}

/// The CPUs of `mask` that may remember translations of the time of this stamp.
pub fn stale(stamp: u32, mask: u64) -> u64 {
    mailbox::bits(mask)
        .filter(|cpu| needs_flush(stamp, *cpu))
        .fold(0, |stale, cpu| stale | 1 << cpu)
}

/// Starts an epoch for a flush that this CPU is about to do, and then does it by loading `cr3`.
///
/// # Safety
/// As for [`segment::write_cr3`].
#[inline]
pub unsafe fn load_cr3(cr3: u64) {
    let epoch = EPOCH.fetch_add(1, Ordering::AcqRel) + 1;
    trace::count(trace::Counter::FullFlushes);
    trace::count(trace::Counter::Cr3Loads);
    // SAFETY: the caller vouches for the table.
    unsafe { segment::write_cr3(cr3) };
    LAST.this().store(epoch, Ordering::Release);
}

/// Makes this CPU forget all translations of guests, which are never global.
pub fn flush_local() {
    // SAFETY: the table that is loaded already.
    unsafe { load_cr3(segment::read_cr3()) };
}

/// Makes this CPU forget the translation of one address.
#[inline]
pub fn flush_va_local(va: u64) {
    trace::count(trace::Counter::Invlpgs);
    cpu::invlpg(va);
}

/// This CPU has loaded the table without guests, and so remembers nothing of any until [`note_guest`].
pub fn note_no_guest() {
    LAST.this().store(u64::MAX, Ordering::Release);
}

/// This CPU is about to load a guest's table. What is unmapped from now on it may remember.
#[inline]
pub fn note_guest() {
    let last = LAST.this();
    if last.load(Ordering::Relaxed) == u64::MAX {
        // Visible to all before the load, which waits for earlier stores.
        last.store(EPOCH.load(Ordering::Acquire), Ordering::SeqCst);
    }
}

/// Does on this CPU what another one asked for. A CPU that idles gives up the address space that it has kept: it is not
/// asked again before it runs a guest.
pub fn serve_request(scope: Scope) {
    if scope != Scope::Cache && context::unload_if_idle() {
        note_no_guest();
        return;
    }
    serve(scope);
}

/// Makes this CPU forget.
pub fn serve(scope: Scope) {
    match scope {
        Scope::All => flush_local(),
        Scope::Page(va) => flush_va_local(va),
        Scope::Cache => cpu::wbinvd(),
    }
}

/// Makes the CPUs of `mask`, which may include this one, forget.
pub fn flush_mask(mask: u64, scope: Scope) {
    let here = 1 << percpu::cpu_id();
    if mask & !here != 0 {
        trace::record(
            trace::Kind::Flush,
            mask,
            if let Scope::Page(va) = scope { va } else { u64::MAX },
        );
        mailbox::request(mask & !here, mailbox::Request::Flush(scope));
    }
    if mask & here != 0 {
        serve(scope);
    }
}

/// Makes the CPUs of `mask` forget all translations of guests.
pub fn flush_tlb_mask(mask: u64) {
    flush_mask(mask, Scope::All);
}

/// Makes the CPUs of `mask` forget the translation of one address.
pub fn flush_va(va: u64, mask: u64) {
    flush_mask(mask, Scope::Page(va));
}

/// Before a claimed frame of `owner` gets another use: forgets translations of the old one. `foreign` if others than
/// the owner mapped it.
#[cold]
pub(super) fn flush_stale(info: &FrameInfo, owner: &Domain, foreign: bool) {
    let may_hold = if foreign {
        smp::online_mask()
    } else {
        owner.dirty_cpus.load(Ordering::SeqCst)
    };
    let mask = stale(info.epoch(), may_hold);
    if mask != 0 {
        flush_tlb_mask(mask);
    }
}

/// Before free frames with this stamp are used again: forgets translations of their last use.
pub(super) fn flush_freed(stamp: u32) {
    let mask = stale(stamp, smp::online_mask());
    if mask != 0 {
        flush_tlb_mask(mask);
    }
}
