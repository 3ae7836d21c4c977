//! Which pages a domain writes, for live migration: the rules of `xen_logic::logdirty` applied to the machine.
//!
//! A tracked domain's vcpus run on shadows of its page tables (`Hot::kernel_cr3`), not on the tables themselves
//! (`Hot::kernel_table`), and everything that happens to a table or writes to its memory on its behalf is told here.
//! [`any`] is asked first, which costs one load as long as nobody is tracked.
//!
//! That load may come after the change that is to be told without a fence of its own: a change of an entry is a locked
//! exchange, and beginning to track is one, too. Either the changer sees that there is somebody tracked, or its change
//! was there before the first shadow was made.
//!
//! The lock of a domain's tracker is a leaf but for the page allocator and the heap. Guest memory is not copied while it
//! is held, since a fault in such a copy takes it; CPUs may be asked to flush.

mod control;
mod holders;
mod machine;

pub use control::{disable, enable, end, frames, round, set_limit};

use super::frame::{FrameInfo, Mfn};
use super::pt::Scope;
use super::{maddr_of, pages};
use crate::arch::x86::segment;
use crate::domain::{Domain, Vcpu};
use crate::sync::Mutex;
use alloc::boxed::Box;
use control::Job;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use machine::Hardware;
use xen_abi::Errno;
pub use xen_logic::logdirty::Fault;
use xen_logic::logdirty::{Access, Tracker};
use xen_logic::pte::{self, Pte};

/// How many domains are tracked.
static TRACKED: AtomicU32 = AtomicU32::new(0);

/// A domain's part.
pub struct DomainLog {
    on: AtomicBool,
    state: Mutex<Option<Box<State>>>,
    /// Most frames for shadows that a toolstack allows; 0 where it has said nothing.
    limit: AtomicU32,
}

struct State {
    tracker: Tracker,
    /// The operation that is under way, between two calls.
    job: Option<Job>,
}

impl DomainLog {
    /// Not tracked.
    pub const fn new() -> Self {
        Self {
            on: AtomicBool::new(false),
            state: Mutex::new(None),
            limit: AtomicU32::new(0),
        }
    }
}

/// Is any domain tracked?
#[inline(always)]
pub fn any() -> bool {
    TRACKED.load(Relaxed) != 0
}

/// Calls `f` with the domain's tracker, if it is tracked.
fn with<R>(domain: &Domain, f: impl FnOnce(&mut Tracker, &mut Hardware) -> R) -> Option<R> {
    let log = &domain.mm.log;
    if !log.on.load(SeqCst) {
        return None;
    }
    let mut state = log.state.lock();
    Some(f(&mut state.as_mut()?.tracker, &mut Hardware(domain)))
}

/// A level-1 entry was exchanged for `new`, and what the old one held is about to be dropped.
#[inline(always)]
pub fn entry_changed(word: &AtomicU64, new: Pte, scope: &Scope) {
    if any() {
        tell_entry(word, new, scope);
    }
}

#[cold]
#[inline(never)]
fn tell_entry(word: &AtomicU64, new: Pte, scope: &Scope) {
    let maddr = maddr_of(core::ptr::from_ref(word));
    tell_change(scope.table, Mfn(maddr >> 12), (maddr & 0xfff) as usize / 8);
    if new.is_present() && new.is_writable() && scope.is_foreign() {
        // From here on to its end another domain may write there: see `holders`.
        with(scope.frames, |tracker, m| tracker.mark(m, new.mfn()));
    }
}

/// As [`entry_changed`], for an entry that another one held before: whoever's frame it names, it is marked.
#[inline(always)]
pub fn entry_moved(word: &AtomicU64, new: Pte, scope: &Scope) {
    if any() {
        tell_entry(word, new, scope);
        if new.is_present()
            && new.is_writable()
            && let Some(info) = super::frame::info(Mfn(new.mfn()))
        {
            touched(info);
        }
    }
}

fn tell_change(domain: &Domain, table: Mfn, index: usize) {
    with(domain, |tracker, m| tracker.entry_changed(m, table.0 as u32, index));
}

/// An entry of a table of level 2 to 4 was exchanged, and what the old one held is about to be dropped.
#[inline(always)]
pub fn table_entry_changed(table: &FrameInfo, index: usize, domain: &Domain) {
    if any() {
        tell_change(domain, table.mfn(), index);
    }
}

/// A page table is about to be undone, whose entries hold what they hold still.
#[inline(always)]
pub fn table_gone(table: &'static FrameInfo) {
    if any() {
        tell_owner(table, |tracker, m| tracker.table_gone(m, table.mfn().0 as u32));
    }
}

/// The page in the frame was written by the hypervisor, or is something else now; the caller holds the frame.
#[inline(always)]
pub fn touched(frame: &'static FrameInfo) {
    if any() {
        tell_owner(frame, |tracker, m| tracker.mark(m, frame.mfn().0));
    }
}

#[cold]
#[inline(never)]
fn tell_owner(frame: &'static FrameInfo, f: impl FnOnce(&mut Tracker, &mut Hardware)) {
    if let Some(id) = frame.owner().domain_id() {
        pages::with_domain(id, |owner| with(owner, f));
    }
}

/// A frame of the domain's is its page `gpfn` now.
#[inline]
pub fn page_numbered(domain: &Domain, gpfn: u64) {
    if any() && gpfn != super::m2p::INVALID {
        with(domain, |tracker, _| tracker.mark_page(gpfn));
    }
}

/// The top table that a CPU loads for the vcpu's table in `mfn`: that, or its shadow, which is in use until
/// [`leave_root`].
///
/// # Errors
/// `ENOMEM`.
pub fn use_root(domain: &Domain, mfn: Mfn) -> Result<Mfn, Errno> {
    if !any() {
        return Ok(mfn);
    }
    match with(domain, |tracker, m| tracker.use_root(m, mfn.0 as u32)) {
        None => Ok(mfn),
        Some(Ok(shadow)) => Ok(Mfn(shadow.into())),
        Some(Err(_)) => Err(Errno::ENOMEM),
    }
}

/// No vcpu slot names the table any more that [`use_root`] was asked for.
pub fn leave_root(domain: &Domain, mfn: Mfn) {
    if any() {
        with(domain, |tracker, _| tracker.leave_root(mfn.0 as u32));
    }
}

/// Error code bits of `#PF`.
const PF_WRITE: u32 = 2;
const PF_RESERVED: u32 = 8;
const PF_FETCH: u32 = 16;

/// A page fault at `va` while the vcpu's tables are loaded; `None` where shadows have nothing to do with it.
#[cold]
#[inline(never)]
pub fn fault(cur: &Vcpu, va: u64, code: u32) -> Option<Fault> {
    if !pte::is_guest_l4_slot(pte::index(va, 4)) || code & PF_RESERVED != 0 {
        return None;
    }
    let loaded = segment::read_cr3() & !0xfff;
    let hot = &cur.hot;
    let root = if loaded == hot.kernel_cr3.load(Relaxed) {
        hot.kernel_table.load(Relaxed)
    } else if loaded == hot.user_cr3.load(Relaxed) {
        hot.user_table.load(Relaxed)
    } else {
        return None;
    };
    let access = Access {
        write: code & PF_WRITE != 0,
        fetch: code & PF_FETCH != 0,
    };
    with(cur.domain(), |tracker, m| {
        tracker.fault(m, (root >> 12) as u32, va, access)
    })
}
