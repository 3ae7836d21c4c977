//! The FIFO layout's pages: the guest's event array and control blocks, and delivery through them.

use super::port::Port;
use super::upcall_pending;
use crate::domain::{Domain, Vcpu};
use crate::mm::frame::{self, Mfn, TypedRef};
use crate::mm::{directmap, layout::PAGE_SIZE, logdirty};
use crate::sync::{Mutex, Once, PollMailbox};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use core::sync::atomic::{AtomicPtr, AtomicU32};
use xen_abi::Errno;
use xen_logic::evtchn::fifo::{self, ControlBlock, EventArray, MASKED, PENDING, PORTS, Queues, WORDS_PER_PAGE};
use xen_logic::evtchn::free_ports::FreePorts;
use xen_logic::evtchn::{Raised, two_level};

const PAGES: usize = (PORTS / WORDS_PER_PAGE) as usize;

/// Width of the link field, which the guest is told.
pub(super) const LINK_BITS: u8 = 17;

/// A domain's event array.
pub(super) struct Array {
    /// By page: its first word in the direct map, null until the guest gives the page. Made at first use.
    pages: Once<Box<[AtomicPtr<AtomicU32>]>>,
    /// The references that keep those pages the guest's writable ones. Pages come in order.
    held: Mutex<Vec<TypedRef>>,
}

impl Array {
    pub(super) const fn new() -> Self {
        Array {
            pages: Once::new(),
            held: Mutex::new(Vec::new()),
        }
    }
}

impl EventArray for Array {
    type Word = AtomicU32;

    #[inline]
    fn word(&self, port: u32) -> Option<&AtomicU32> {
        let page = self.pages.get()?.get((port / WORDS_PER_PAGE) as usize)?.load(Acquire);
        if page.is_null() {
            return None;
        }
        // SAFETY: a page of the guest's in the direct map, held by a reference while it stands in `pages`, and only
        // accessed by atomics; the index is within it.
        Some(unsafe { &*page.add((port % WORDS_PER_PAGE) as usize) })
    }
}

fn control(v: &Vcpu) -> Option<&ControlBlock> {
    // SAFETY: null, or an aligned block within a page that the vcpu holds a writable reference to; all its fields
    // that are used are atomics.
    unsafe { v.events.control.load(Acquire).as_ref() }
}

/// Marks `number` pending and appends it to its queue. A port's lock is held (see the module's rules).
pub(super) fn set_pending(domain: &Domain, v: &'static Vcpu, number: u32, port: &Port) -> Raised {
    let array = &domain.events.array;
    let Some(word) = array.word(number) else {
        // The guest has not given that page yet; `expand_array` makes up for it.
        return if port.early.swap(true, SeqCst) {
            Raised::Already
        } else {
            Raised::Quiet
        };
    };
    let (was_pending, to_append) = fifo::mark(word);
    if to_append && append(domain, v, number, port, word) {
        return Raised::Upcall;
    }
    if was_pending { Raised::Already } else { Raised::Quiet }
}

/// Appends a pending word to the queue that it belongs to now; true where an upcall is due.
fn append(domain: &Domain, v: &'static Vcpu, number: u32, port: &Port, word: &AtomicU32) -> bool {
    // A guest must not unmask before it has given the control block; such an event is lost.
    let Some(control) = control(v) else { return false };
    let priority = port.priority.load(Relaxed);
    let to = v.id << 8 | priority as u32;
    loop {
        let last = port.last_queue.load(Relaxed);
        let (mut mine, old) = lock_two(domain, v, last >> 8);
        if port.last_queue.load(Relaxed) != last {
            continue;
        }
        if !fifo::claim(word) {
            return false;
        }
        match old {
            Some(mut old) => old.forget(last as u8, number),
            None => mine.forget(last as u8, number),
        }
        port.last_queue.store(to, Relaxed);
        return mine.append(&domain.events.array, control, priority, number);
    }
}

type Guard = spin::mutex::SpinMutexGuard<'static, Queues, PollMailbox>;

/// Locks `v`'s queues, and those of vcpu `other` where that is another one, the lower number first.
#[inline]
fn lock_two(domain: &Domain, v: &'static Vcpu, other: u32) -> (Guard, Option<Guard>) {
    if other == v.id {
        return (v.events.queues.lock(), None);
    }
    // A number that was stored is that of a vcpu, and vcpus stay.
    let Some(o) = domain.vcpu(other) else {
        return (v.events.queues.lock(), None);
    };
    if other < v.id {
        let second = o.events.queues.lock();
        return (v.events.queues.lock(), Some(second));
    }
    let first = v.events.queues.lock();
    (first, Some(o.events.queues.lock()))
}

/// Clears the mask of `number`; true where an upcall is due. The port's lock is held.
pub(super) fn unmask(domain: &Domain, v: &'static Vcpu, number: u32, port: &Port) -> bool {
    let Some(word) = domain.events.array.word(number) else {
        return false;
    };
    fifo::unmask(word) && set_pending(domain, v, number, port) == Raised::Upcall
}

pub(super) fn is_pending(domain: &Domain, number: u32) -> bool {
    domain
        .events
        .array
        .word(number)
        .is_some_and(|w| w.load(SeqCst) & PENDING != 0)
}

/// Forgets a pending event, for a port that closes.
pub(super) fn clear_pending(domain: &Domain, number: u32, port: &Port) {
    port.early.store(false, SeqCst);
    if let Some(word) = domain.events.array.word(number) {
        word.fetch_and(!PENDING, SeqCst);
    }
}

/// Is the word still in a queue, so that the port cannot be given to a new use yet?
pub(super) fn is_linked(domain: &Domain, number: u32) -> bool {
    domain
        .events
        .array
        .word(number)
        .is_some_and(|w| w.load(SeqCst) & fifo::LINKED != 0)
}

/// Takes a vcpu's control block (`EVTCHNOP_init_control`). The first one changes the layout; gives the width of the
/// link field.
///
/// # Errors
/// `ENOENT` for no such vcpu, `EINVAL` for a block that leaves its page or a second one, others from the page types.
pub fn init_control(domain: &Domain, vcpu: u32, mfn: u64, offset: u32) -> Result<u8, Errno> {
    let v = domain.vcpu(vcpu).ok_or(Errno::ENOENT)?;
    if !offset.is_multiple_of(8) || offset as u64 > PAGE_SIZE - size_of::<ControlBlock>() as u64 {
        return Err(Errno::EINVAL);
    }
    let _admin = domain.events.admin.lock();
    let mut slot = v.events.control_frame.lock();
    if slot.is_some() {
        return Err(Errno::EINVAL);
    }
    domain.events.array.prepare()?;
    let page = frame::get_page_type(Mfn(mfn), domain, frame::Type::Writable)?;
    let block = directmap(page.mfn().maddr())
        .wrapping_add(offset as usize)
        .cast::<ControlBlock>();
    logdirty::touched(page.info());
    *slot = Some(page);
    drop(slot);
    v.events.control.store(block, Release);
    if !domain.events.uses_fifo.load(Relaxed) {
        take_over(domain);
    }
    Ok(LINK_BITS)
}

/// Changes to the FIFO layout: what is pending in the old one will be in the new one, once its page is there.
fn take_over(domain: &Domain) {
    // From here on senders note what they find no word for; what they had noted before is in the old bits.
    domain.events.uses_fifo.store(true, SeqCst);
    for (number, port) in domain.events.ports.iter() {
        let binding = port.binding.lock();
        if !binding.is_free()
            && domain
                .events
                .bits()
                .is_some_and(|(pending, _)| two_level::test(pending, number))
        {
            port.early.store(true, SeqCst);
        }
    }
}

impl Array {
    /// Calls `f` with its frames.
    pub(super) fn frames(&self, f: &mut impl FnMut(Mfn)) {
        self.held.lock().iter().map(TypedRef::mfn).for_each(f);
    }

    /// Makes the table of pages.
    fn prepare(&self) -> Result<(), Errno> {
        if self.pages.get().is_some() {
            return Ok(());
        }
        let mut pages = Vec::new();
        pages.try_reserve_exact(PAGES).map_err(|_| Errno::ENOMEM)?;
        pages.extend((0..PAGES).map(|_| AtomicPtr::new(core::ptr::null_mut())));
        self.held.lock().try_reserve(PAGES).map_err(|_| Errno::ENOMEM)?;
        let pages = pages.into_boxed_slice();
        self.pages.call_once(|| pages);
        Ok(())
    }
}

/// Takes the next page of the event array (`EVTCHNOP_expand_array`).
///
/// # Errors
/// `EOPNOTSUPP` in the two-level layout, `ENOSPC` for a page too many, others from the page types.
pub fn expand_array(domain: &Domain, mfn: u64) -> Result<(), Errno> {
    let _admin = domain.events.admin.lock();
    if !domain.events.uses_fifo.load(Relaxed) {
        return Err(Errno::EOPNOTSUPP);
    }
    let pages = domain.events.array.pages.get().ok_or(Errno::EOPNOTSUPP)?;
    let mut held = domain.events.array.held.lock();
    let index = held.len();
    let slot = pages.get(index).ok_or(Errno::ENOSPC)?;
    let page = frame::get_page_type(Mfn(mfn), domain, frame::Type::Writable)?;
    let words = directmap(page.mfn().maddr()).cast::<AtomicU32>();
    for n in 0..WORDS_PER_PAGE as usize {
        // SAFETY: a page of the guest's in the direct map, kept by the reference; accessed by atomics only.
        unsafe { (*words.add(n)).store(MASKED, Relaxed) };
    }
    logdirty::touched(page.info());
    held.push(page);
    drop(held);
    slot.store(words, Release);
    redeliver_early(domain, index as u32);
    Ok(())
}

/// Delivers what became pending before the words of page `index` were there.
fn redeliver_early(domain: &Domain, index: u32) {
    let first = index * WORDS_PER_PAGE;
    for number in first..first + WORDS_PER_PAGE {
        let Some(port) = domain.events.ports.get(number) else {
            continue;
        };
        let _binding = port.binding.lock();
        if port.early.swap(false, SeqCst)
            && let Some(v) = domain.vcpu(port.vcpu.load(Relaxed))
            && set_pending(domain, v, number, port) == Raised::Upcall
            && upcall_pending(v).swap(1, SeqCst) == 0
        {
            super::vcpu_kick(v);
        }
    }
}

/// Goes back to the two-level layout and lets the guest's pages go. All ports are closed and `admin` is held, so
/// nobody uses the pages.
pub(super) fn release(domain: &Domain, _admin: &mut FreePorts) {
    domain.events.uses_fifo.store(false, SeqCst);
    if let Some(pages) = domain.events.array.pages.get() {
        pages.iter().for_each(|p| p.store(core::ptr::null_mut(), Release));
    }
    domain.events.array.held.lock().clear();
    for v in domain.vcpus() {
        *v.events.queues.lock() = Queues::new();
        v.events.control.store(core::ptr::null_mut(), Release);
        *v.events.control_frame.lock() = None;
    }
}
