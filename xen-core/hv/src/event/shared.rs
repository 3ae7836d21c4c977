//! The pages through which events reach a guest: the domain's shared page, and each vcpu's `vcpu_info` in it or where
//! the guest has put it.

use super::{selector, upcall_pending};
use crate::arch::x86::percpu::current;
use crate::domain::{Domain, Vcpu, dummy_info};
use crate::mm::frame::{self, Mfn, TypedRef};
use crate::mm::{directmap, layout::PAGE_SIZE, logdirty, maddr_of, pages};
use crate::sched;
use core::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
use core::sync::atomic::{AtomicU32, AtomicU64};
use xen_abi::{Errno, SHARED_INFO_ARCH, VCPU_INFO_SIZE, XEN_LEGACY_MAX_VCPUS, vcpu_info};

/// Makes a new domain's shared page: the hypervisor's, which the domain may map writable.
///
/// # Errors
/// `ENOMEM`.
pub fn init_domain(domain: &Domain) -> Result<(), Errno> {
    let frame = pages::alloc_shared_page(domain).ok_or(Errno::ENOMEM)?;
    domain.events.shared.store(directmap(frame.maddr()).cast(), Release);
    crate::time::wallclock::update(domain);
    Ok(())
}

/// The frame of the domain's shared page, if it has one.
pub fn shared_info_frame(domain: &Domain) -> Option<Mfn> {
    let page = domain.events.shared.load(Relaxed);
    if page.is_null() {
        None
    } else {
        Some(Mfn(maddr_of(page) >> 12))
    }
}

/// The 32-bit word at `offset` of the domain's shared page, if it has one and is not at its end.
pub fn shared_word(domain: &Domain, offset: usize) -> Option<&AtomicU32> {
    // Whoever found the domain alive is through before the page goes.
    if domain.is_dying() {
        return None;
    }
    let page = domain.events.shared.load(Relaxed).cast::<u8>();
    if page.is_null() || !offset.is_multiple_of(4) || offset as u64 >= PAGE_SIZE {
        return None;
    }
    // SAFETY: an aligned word of a page that stays until a grace period after the domain's end has begun, and so for
    // as long as the caller is in the hypervisor; it is only accessed by atomics.
    Some(unsafe { AtomicU32::from_ptr(page.add(offset).cast()) })
}

/// The number of its pages as the guest tells tools in `arch.max_pfn`; it may be anything.
pub fn shared_max_pfn(domain: &Domain) -> u64 {
    let half = |offset| shared_word(domain, SHARED_INFO_ARCH + offset).map_or(0, |w| w.load(Relaxed) as u64);
    half(0) | half(4) << 32
}

/// Points a new vcpu at its place in the shared page, if that is there and has one for it.
pub fn init_vcpu(v: &'static Vcpu) {
    let page = v.domain().events.shared.load(Relaxed).cast::<vcpu_info>();
    if page.is_null() || v.id as usize >= XEN_LEGACY_MAX_VCPUS {
        return;
    }
    if core::ptr::eq(v.hot.info.load(Relaxed), dummy_info()) {
        let info = page.wrapping_add(v.id as usize);
        v.hot.info.store(info, Release);
        crate::time::pvclock::invalidate(v);
    }
}

/// Moves a vcpu's `vcpu_info` to a page of the guest's choice (`VCPUOP_register_vcpu_info`).
///
/// What becomes pending meanwhile may be noted in the old place, so the new one begins with everything selected.
///
/// # Errors
/// `EINVAL` for a place that leaves its page or is not aligned, for the second time, for a vcpu that may run, and for
/// a page that is not a writable one of the domain's.
pub fn register_vcpu_info(v: &'static Vcpu, mfn: u64, offset: u32) -> Result<(), Errno> {
    if !offset.is_multiple_of(8) || offset as u64 > PAGE_SIZE - VCPU_INFO_SIZE as u64 {
        return Err(Errno::EINVAL);
    }
    if !core::ptr::eq(v, current()) && !sched::is_down(v) {
        return Err(Errno::EINVAL);
    }
    let mut slot = v.events.info_frame.lock();
    if slot.is_some() {
        return Err(Errno::EINVAL);
    }
    let page = frame::get_page_type(Mfn(mfn), v.domain(), frame::Type::Writable).map_err(|_| Errno::EINVAL)?;
    let new = directmap(page.mfn().maddr())
        .wrapping_add(offset as usize)
        .cast::<u64>();
    let old = v.hot.info.load(Relaxed).cast::<u64>();
    for word in 0..VCPU_INFO_SIZE / 8 {
        // SAFETY: both are aligned areas of that size in memory that may change at any time, touched by atomics
        // only: the new one in a page the reference keeps, the old one in the shared page or the stand-in.
        unsafe { AtomicU64::from_ptr(new.add(word)).store(AtomicU64::from_ptr(old.add(word)).load(Relaxed), Relaxed) };
    }
    logdirty::touched(page.info());
    *slot = Some(page);
    v.hot.info.store(new.cast(), SeqCst);
    selector(v).store(u64::MAX, SeqCst);
    upcall_pending(v).store(1, SeqCst);
    crate::time::pvclock::invalidate(v);
    Ok(())
}

/// Calls `f` with the frames of the domain's that the hypervisor writes events to, at any time.
pub fn held_frames(domain: &Domain, f: &mut impl FnMut(Mfn)) {
    for v in domain.vcpus() {
        for held in [&v.events.info_frame, &v.events.control_frame] {
            held.lock().iter().map(TypedRef::mfn).for_each(&mut *f);
        }
    }
    domain.events.array.frames(f);
}

/// Lets a vcpu's `vcpu_info` go; the stand-in takes its place. The vcpu never runs again, and nobody notifies it.
pub(super) fn release_vcpu_info(v: &Vcpu) {
    v.hot.info.store(dummy_info(), SeqCst);
    let page = v.events.info_frame.lock().take();
    drop(page);
}

/// Gives back the shared page of a domain at its end; see [`super::release`].
pub(super) fn release_domain(domain: &Domain) {
    let page = domain.events.shared.swap(core::ptr::null_mut(), SeqCst);
    if !page.is_null() {
        pages::unshare(Mfn(maddr_of(page) >> 12));
    }
}
