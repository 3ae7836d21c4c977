//! Requests from one CPU to others, each acknowledged.
//!
//! The sender writes its request into its own slot, sets its bit in each receiver's word, and interrupts them. A
//! receiver serves what its word names and clears its bit among the slot's outstanding ones. Receivers serve at the
//! interrupt, and in every waiting loop: a handler therefore takes no lock, and sends no request.

use super::percpu;
use super::regs::vector;
use crate::mm::layout::NR_CPUS;
use crate::sync::PerCpu;
use crate::{per_cpu, trace};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What another CPU can be asked for.
#[derive(Clone, Copy)]
pub enum Request {
    /// Give up the state of the vcpu that is loaded but not running.
    Unload,
    /// Forget translations: what the flush module says of this argument.
    Flush(crate::mm::flush::Scope),
}

/// One sender's request.
struct Slot {
    request: UnsafeCell<Request>,
    /// Receivers that have not served it yet.
    outstanding: AtomicU64,
    busy: AtomicBool,
}

// SAFETY: `request` is written by its own CPU while `outstanding` is zero, and read by receivers whose bit is set.
unsafe impl Sync for Slot {}

static SLOTS: PerCpu<Slot> = per_cpu!(Slot {
    request: UnsafeCell::new(Request::Unload),
    outstanding: AtomicU64::new(0),
    busy: AtomicBool::new(false),
});

/// The senders whose requests wait for each CPU.
static WAITING: PerCpu<AtomicU64> = per_cpu!(AtomicU64::new(0));

const _: () = assert!(NR_CPUS <= 64);

/// Asks every CPU in `mask` but this one for `request`, and waits until all have done it. CPUs that are not online
/// are left out.
pub fn request(mask: u64, request: Request) {
    let me = percpu::cpu_id();
    let mask = mask & super::smp::online_mask() & !(1 << me);
    if mask == 0 {
        return;
    }
    let slot = SLOTS.of(me);
    assert!(
        !slot.busy.swap(true, Ordering::Relaxed),
        "a mailbox request from within one"
    );
    // SAFETY: nobody reads the slot, since no bit is outstanding; only this CPU writes it.
    unsafe { *slot.request.get() = request };
    slot.outstanding.store(mask, Ordering::Release);
    trace::count(trace::Counter::MailboxRequests);
    for cpu in bits(mask) {
        if WAITING.of(cpu).fetch_or(1 << me, Ordering::SeqCst) == 0 {
            super::apic::send_ipi(cpu, vector::MAILBOX);
        }
    }
    crate::sync::spin_until(|| slot.outstanding.load(Ordering::Acquire) == 0);
    slot.busy.store(false, Ordering::Relaxed);
}

/// The numbers of the bits set in `mask`.
pub fn bits(mut mask: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let bit = (mask != 0).then(|| mask.trailing_zeros() as usize)?;
        mask &= mask - 1;
        Some(bit)
    })
}

/// Serves what waits for this CPU.
#[inline]
pub fn poll() {
    let waiting = WAITING.this();
    if waiting.load(Ordering::Relaxed) != 0 {
        serve(waiting.swap(0, Ordering::SeqCst));
    }
}

#[cold]
fn serve(senders: u64) {
    let me = 1 << percpu::cpu_id();
    for sender in bits(senders) {
        let slot = SLOTS.of(sender);
        // SAFETY: our bit is outstanding, so the sender does not write the slot.
        let request = unsafe { *slot.request.get() };
        match request {
            Request::Unload => crate::domain::context::unload(),
            Request::Flush(scope) => crate::mm::flush::serve_request(scope),
        }
        slot.outstanding.fetch_and(!me, Ordering::Release);
    }
}

/// Makes CPU `cpu` give up the state of the vcpu that it holds but does not run.
pub fn unload_on(cpu: usize) {
    request(1 << cpu, Request::Unload);
}
