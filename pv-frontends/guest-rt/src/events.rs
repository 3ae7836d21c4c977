//! The shared page and two-level events.
use crate::hypercall;
use crate::pages::{self, PTE_DATA, Page};
use crate::{start_info, vcpu};
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use xen_abi::*;

/// A page of the image whose place the shared page takes.
static SHARED: Page = Page::new();
static COUNTS: [AtomicU32; 64] = [const { AtomicU32::new(0) }; 64];

/// A word of the shared page; both sides write it.
pub fn shared_word(offset: usize) -> &'static AtomicU64 {
    // SAFETY: within the page, aligned by all callers' offsets; the page stays mapped.
    unsafe { AtomicU64::from_ptr(SHARED.address().wrapping_add(offset as u64) as *mut u64) }
}

fn shared_byte(offset: usize) -> &'static AtomicU8 {
    // SAFETY: within the page, which stays mapped.
    unsafe { AtomicU8::from_ptr(SHARED.address().wrapping_add(offset as u64) as *mut u8) }
}

/// A word of a vcpu's `vcpu_info` in the shared page.
pub fn vcpu_info_word(vcpu: usize, offset: usize) -> u64 {
    shared_word(vcpu * VCPU_INFO_SIZE + offset).load(Ordering::Relaxed)
}

pub(crate) fn init() {
    // SAFETY: nothing but this module uses the page.
    unsafe { hypercall::update_va_mapping(SHARED.address(), start_info().shared_info | PTE_DATA, UVMF_INVLPG) };
    let _ = pages::boot_root();
}

/// Masks or unmasks upcalls on the calling vcpu; the answer is whether they were masked.
pub fn set_mask(masked: bool) -> bool {
    let info = vcpu::number() * VCPU_INFO_SIZE;
    let before = shared_byte(info + VCPU_INFO_UPCALL_MASK).swap(masked.into(), Ordering::SeqCst);
    if !masked && shared_byte(info + VCPU_INFO_UPCALL_PENDING).load(Ordering::SeqCst) != 0 {
        // Any hypercall gives the hypervisor the occasion to deliver.
        hypercall::version();
    }
    before != 0
}

/// Lets a port's events through.
pub fn unmask_port(port: u32) -> i64 {
    hypercall::event_channel_op(EVTCHNOP_unmask, &mut evtchn_unmask { port })
}

/// How often a port below 64 has fired.
pub fn fired(port: u32) -> u32 {
    COUNTS[port as usize % COUNTS.len()].load(Ordering::Acquire)
}

/// Takes every pending event of the calling vcpu: clears and counts it.
pub(crate) fn dispatch() {
    let info = vcpu::number() * VCPU_INFO_SIZE;
    shared_byte(info + VCPU_INFO_UPCALL_PENDING).store(0, Ordering::SeqCst);
    let mut selector = shared_word(info + VCPU_INFO_PENDING_SEL).swap(0, Ordering::SeqCst);
    while selector != 0 {
        let word = selector.trailing_zeros() as usize;
        selector &= selector - 1;
        let pending = shared_word(SHARED_INFO_EVTCHN_PENDING + word * 8);
        let masked = shared_word(SHARED_INFO_EVTCHN_MASK + word * 8).load(Ordering::SeqCst);
        let mut bits = pending.load(Ordering::SeqCst) & !masked;
        pending.fetch_and(!bits, Ordering::SeqCst);
        while bits != 0 {
            let port = word * 64 + bits.trailing_zeros() as usize;
            bits &= bits - 1;
            COUNTS[port % COUNTS.len()].fetch_add(1, Ordering::Release);
        }
    }
}
