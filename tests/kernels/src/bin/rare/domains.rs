//! What a toolstack asks of a domain that it seldom asks.
use crate::control::{MILLISECOND, NOBODY, at, create_domain, destroy_domain, domain_info, domctl, is, pass, wait_for};
use guest_rt::events::unmask_port;
use guest_rt::pages::{self, PTE_DATA, take_page};
use guest_rt::{check, hypercall};
use xen_abi::*;

/// The word size of a domain's guest.
fn size(domain: u16) -> (i64, u32) {
    let (answer, request) = domctl(XEN_DOMCTL_get_address_size, domain, |_| ());
    (answer, request.payload::<xen_domctl_address_size>().size)
}

fn set_size(domain: u16, size: u32) -> i64 {
    let ask = xen_domctl_address_size { size };
    domctl(XEN_DOMCTL_set_address_size, domain, |r| r.set_payload(&ask)).0
}

fn address_size(domain: u16) {
    check!("get_address_size/self", size(0) == (0, 64), "{:?}", size(0));
    let answer = set_size(domain, 64);
    check!(
        "set_address_size/same",
        answer == 0 && size(domain) == (0, 64),
        "{answer} {:?}",
        size(domain)
    );
    let answer = set_size(domain, 16);
    check!("set_address_size/odd", is(answer, Errno::EINVAL), "{answer}");
    // A guest of 32 bits, where there are such guests.
    let answer = set_size(domain, 32);
    let holds = if answer == 0 {
        size(domain) == (0, 32)
    } else {
        size(domain) == (0, 64)
    };
    check!(
        "set_address_size/short",
        holds && (answer == 0 || is(answer, Errno::EOPNOTSUPP) || is(answer, Errno::EINVAL)),
        "{answer} {:?}",
        size(domain)
    );
    let answer = set_size(NOBODY, 64);
    check!("set_address_size/nobody", is(answer, Errno::ESRCH), "{answer}");
    check!(
        "get_address_size/nobody",
        is(size(NOBODY).0, Errno::ESRCH),
        "{:?}",
        size(NOBODY)
    );
}

fn nodes(domain: u16) {
    let mut map = u64::MAX;
    let ask = xen_domctl_nodeaffinity {
        nodemap: xenctl_bitmap {
            bitmap: at(&mut map),
            nr_bits: 64,
            _pad: 0,
        },
    };
    let (answer, _) = domctl(XEN_DOMCTL_getnodeaffinity, domain, |r| r.set_payload(&ask));
    // The one node, or every number that a node can have.
    check!("getnodeaffinity/one", answer == 0 && map & 1 == 1, "{answer} {map:#x}");
    let (answer, _) = domctl(XEN_DOMCTL_getnodeaffinity, NOBODY, |r| r.set_payload(&ask));
    check!("getnodeaffinity/nobody", is(answer, Errno::ESRCH), "{answer}");
}

/// A port of the domain's that is connected to one here.
fn connected(domain: u16) -> (u32, u32) {
    let mut remote = evtchn_alloc_unbound {
        dom: domain,
        remote_dom: 0,
        port: 0,
    };
    let answer = hypercall::event_channel_op(EVTCHNOP_alloc_unbound, &mut remote);
    assert!(answer == 0, "alloc_unbound: {answer}");
    let mut bind = evtchn_bind_interdomain {
        remote_dom: domain,
        remote_port: remote.port,
        ..Default::default()
    };
    let answer = hypercall::event_channel_op(EVTCHNOP_bind_interdomain, &mut bind);
    assert!(answer == 0, "bind_interdomain: {answer}");
    unmask_port(bind.local_port);
    (remote.port, bind.local_port)
}

/// Who has subscribed hears that the domain has suspended itself.
fn subscribe() {
    let domain = create_domain();
    let (remote, local) = connected(domain);
    // The union's arm is the port alone.
    let ask = |domain: u16, port: u32| domctl(XEN_DOMCTL_subscribe, domain, |r| r.u[0] = port.into()).0;
    let before = guest_rt::events::fired(local);
    let answer = ask(domain, remote);
    let mut end = sched_remote_shutdown {
        domain_id: domain,
        _pad: 0,
        reason: SHUTDOWN_suspend,
    };
    let ended = hypercall::sched_op(SCHEDOP_remote_shutdown, &mut end);
    let count = wait_for(local, before, 1000 * MILLISECOND);
    let flags = domain_info(domain).map_or(0, |info| info.flags);
    check!(
        "subscribe/suspended",
        (answer, ended) == (0, 0) && count == 1 && flags & XEN_DOMINF_shutdown != 0,
        "{answer} {ended}, {count} events, flags {flags:#x}"
    );
    let answer = ask(NOBODY, 1);
    check!("subscribe/nobody", is(answer, Errno::ESRCH), "{answer}");
    destroy_domain(domain);
}

/// A frame of no RAM and no device that anything uses, where PCI devices have their registers.
const DEVICE_FRAME: u64 = 0xf_d000;

fn permit_frames(domain: u16, first_mfn: u64, nr_mfns: u64, allow: bool) -> i64 {
    let ask = xen_domctl_iomem_permission {
        first_mfn,
        nr_mfns,
        allow_access: allow.into(),
        ..Default::default()
    };
    domctl(XEN_DOMCTL_iomem_permission, domain, |r| r.set_payload(&ask)).0
}

/// A mapping on behalf of a domain, of what is no RAM: that domain must be allowed it, too.
fn device_frames(domain: u16) {
    let page = take_page();
    let entry = pages::entry_address(pages::boot_root(), page.address(), 1).expect("the image is mapped");
    let map = || {
        let request = mmu_update {
            ptr: entry,
            val: DEVICE_FRAME << 12 | PTE_DATA | 0x18,
        };
        // SAFETY: the page is this function's, and nothing reads it while it is mapped elsewhere.
        let answer = unsafe { hypercall::mmu_update_of(domain, &[request]) };
        pages::protect(page, PTE_DATA);
        answer
    };
    let before = map();
    let allowed = permit_frames(domain, DEVICE_FRAME, 1, true);
    let with = map();
    let denied = permit_frames(domain, DEVICE_FRAME, 1, false);
    let after = map();
    check!(
        "iomem_permission/allowed",
        (allowed, with) == (0, 0),
        "{allowed}, mapping {with}"
    );
    check!(
        "iomem_permission/denied",
        denied == 0 && is(before, Errno::EPERM) && is(after, Errno::EPERM),
        "{denied}, mapping {before} {after}"
    );
    let answer = permit_frames(domain, u64::MAX, 2, true);
    check!("iomem_permission/wrap", is(answer, Errno::EINVAL), "{answer}");
    let answer = permit_frames(NOBODY, DEVICE_FRAME, 1, true);
    check!("iomem_permission/nobody", is(answer, Errno::ESRCH), "{answer}");
}

pub fn run() {
    let domain = create_domain();
    nodes(domain);
    device_frames(domain);
    address_size(domain);
    destroy_domain(domain);
    subscribe();
    // A moment for what ends in the background.
    pass(MILLISECOND);
}
