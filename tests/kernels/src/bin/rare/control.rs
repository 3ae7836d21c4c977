//! Calls as the tests here make them, and what they wait with.
use core::sync::atomic::{AtomicU32, Ordering};
use guest_rt::events::{fired, unmask_port};
use guest_rt::hypercall::{self, hypercall};
use guest_rt::{clock, vcpu};
use xen_abi::*;

/// A pointer that no hypervisor takes from a guest: the first page of its own.
pub const BAD: u64 = 0xffff_8300_0000_0000;
/// No such domain.
pub const NOBODY: u16 = 999;
/// A millisecond in nanoseconds.
pub const MILLISECOND: u64 = 1_000_000;

/// A hypercall whose pointers are the caller's own, or bad.
pub fn call(number: u64, args: [u64; 6]) -> i64 {
    // SAFETY: pointers passed here come from references to live values of this kernel or from the hypervisor's own
    // part of the address space, and the mappings that change are those of pages that only the calling test uses.
    unsafe { hypercall(number, args) }
}

/// A call with an operation and a pointer.
pub fn operate<T>(number: u64, op: u32, argument: &mut T) -> i64 {
    call(number, [op.into(), at(argument), 0, 0, 0, 0])
}

/// A value's address.
pub fn at<T>(value: &mut T) -> u64 {
    core::ptr::from_mut(value) as u64
}

/// Is the answer this errno?
pub fn is(answer: i64, errno: Errno) -> bool {
    answer == -i64::from(errno.0)
}

/// A `domctl` about `domain`; the request as it comes back.
pub fn domctl(cmd: u32, domain: u16, prepare: impl FnOnce(&mut xen_domctl)) -> (i64, xen_domctl) {
    let mut request = xen_domctl {
        cmd,
        interface_version: XEN_DOMCTL_INTERFACE_VERSION,
        domain,
        ..Default::default()
    };
    prepare(&mut request);
    let answer = call(__HYPERVISOR_domctl, [at(&mut request), 0, 0, 0, 0, 0]);
    (answer, request)
}

/// A `sysctl`; the request as it comes back.
pub fn sysctl(cmd: u32, prepare: impl FnOnce(&mut xen_sysctl)) -> (i64, xen_sysctl) {
    let mut request = xen_sysctl {
        cmd,
        interface_version: XEN_SYSCTL_INTERFACE_VERSION,
        ..Default::default()
    };
    prepare(&mut request);
    let answer = call(__HYPERVISOR_sysctl, [at(&mut request), 0, 0, 0, 0, 0]);
    (answer, request)
}

/// A `platform_op`; the request as it comes back.
pub fn platform(cmd: u32, prepare: impl FnOnce(&mut xen_platform_op)) -> (i64, xen_platform_op) {
    let mut request = xen_platform_op {
        cmd,
        interface_version: XENPF_INTERFACE_VERSION,
        ..Default::default()
    };
    prepare(&mut request);
    let answer = call(__HYPERVISOR_platform_op, [at(&mut request), 0, 0, 0, 0, 0]);
    (answer, request)
}

/// What the hypervisor says about a domain; `None` where there is none of this number.
pub fn domain_info(domain: u16) -> Option<xen_domctl_getdomaininfo> {
    let (answer, request) = domctl(XEN_DOMCTL_getdomaininfo, domain, |_| ());
    (answer == 0 && request.domain == domain).then(|| request.payload())
}

/// Makes a domain that never runs and may have 16 frames.
pub fn create_domain() -> u16 {
    let properties = xen_domctl_createdomain {
        handle: [9; 16],
        max_vcpus: 1,
        max_evtchn_port: u32::MAX,
        max_grant_frames: 4,
        max_maptrack_frames: 4,
        grant_opts: 1,
        ..Default::default()
    };
    let (answer, request) = domctl(XEN_DOMCTL_createdomain, 0, |r| r.set_payload(&properties));
    assert!(answer == 0, "createdomain: {answer}");
    let limit = xen_domctl_max_mem { max_memkb: 64 };
    let (answer, _) = domctl(XEN_DOMCTL_max_mem, request.domain, |r| r.set_payload(&limit));
    assert!(answer == 0, "max_mem: {answer}");
    request.domain
}

/// Ends it.
pub fn destroy_domain(domain: u16) {
    let (answer, _) = domctl(XEN_DOMCTL_destroydomain, domain, |_| ());
    assert!(answer == 0, "destroydomain: {answer}");
}

/// A reservation of `domain` with a list.
pub fn reservation(domain: u16, list: &mut [u64]) -> xen_memory_reservation {
    xen_memory_reservation {
        extent_start: list.as_mut_ptr() as u64,
        nr_extents: list.len() as u64,
        domid: domain,
        ..Default::default()
    }
}

/// The port of this vcpu's timer, bound once.
pub fn timer_port() -> u32 {
    static PORT: AtomicU32 = AtomicU32::new(0);
    let known = PORT.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    let mut bind = evtchn_bind_virq {
        virq: VIRQ_TIMER,
        ..Default::default()
    };
    let answer = hypercall::event_channel_op(EVTCHNOP_bind_virq, &mut bind);
    assert!(answer == 0, "bind_virq: {answer}");
    unmask_port(bind.port);
    hypercall::vcpu_op(VCPUOP_stop_periodic_timer, 0, &mut ());
    PORT.store(bind.port, Ordering::Relaxed);
    bind.port
}

/// A port on which this vcpu sends to itself.
pub fn own_port() -> u32 {
    let mut bind = evtchn_bind_ipi::default();
    let answer = hypercall::event_channel_op(EVTCHNOP_bind_ipi, &mut bind);
    assert!(answer == 0, "bind_ipi: {answer}");
    unmask_port(bind.port);
    bind.port
}

/// Waits until a port has fired more than `before` times, `limit` nanoseconds at most; how often it has since.
pub fn wait_for(port: u32, before: u32, limit: u64) -> u32 {
    let end = clock::system_time() + limit;
    while fired(port) == before && clock::system_time() < end {
        vcpu::yield_now();
    }
    fired(port) - before
}

/// Lets time pass.
pub fn pass(nanoseconds: u64) {
    let end = clock::system_time() + nanoseconds;
    while clock::system_time() < end {
        vcpu::yield_now();
    }
}
