//! Rights to ports and interrupt lines, seen where they are taken from this domain itself: who has none can not give
//! any, so that they are gone for good.
use crate::control::{NOBODY, create_domain, destroy_domain, domctl, is};
use crate::devices::read_byte;
use guest_rt::pages::{self, PTE_DATA, take_page};
use guest_rt::{check, hypercall, trap};
use xen_abi::*;

/// The status of the keyboard's controller, never all ones.
const PORT: u32 = 0x64;
/// A line of no device here.
const LINE: u32 = 5;

fn permit_ports(domain: u16, first_port: u32, nr_ports: u32, allow: bool) -> i64 {
    let ask = xen_domctl_ioport_permission {
        first_port,
        nr_ports,
        allow_access: allow.into(),
        ..Default::default()
    };
    domctl(XEN_DOMCTL_ioport_permission, domain, |r| r.set_payload(&ask)).0
}

fn ports(domain: u16) {
    let before = trap::catch(read_byte, PORT.into());
    let given = permit_ports(domain, PORT, 1, true);
    let taken = permit_ports(0, PORT, 1, false);
    let after = trap::catch(read_byte, PORT.into());
    check!(
        "ioport_permission/taken",
        (given, taken) == (0, 0) && before.is_ok_and(|byte| byte != 0xff) && after == Ok(0xff),
        "{given} {taken} {before:x?} {after:x?}"
    );
    let again = permit_ports(0, PORT, 1, true);
    check!("ioport_permission/gone", is(again, Errno::EPERM), "{again}");
    let answer = permit_ports(domain, 0xfff0, 17, true);
    check!("ioport_permission/too-far", is(answer, Errno::EINVAL), "{answer}");
    let answer = permit_ports(NOBODY, 0x300, 1, true);
    check!("ioport_permission/nobody", is(answer, Errno::ESRCH), "{answer}");
}

fn permit_line(domain: u16, pirq: u32, allow: bool) -> i64 {
    let ask = xen_domctl_irq_permission {
        pirq,
        allow_access: allow.into(),
        ..Default::default()
    };
    domctl(XEN_DOMCTL_irq_permission, domain, |r| r.set_payload(&ask)).0
}

fn map_line() -> i64 {
    let mut map = physdev_map_pirq {
        domid: DOMID_SELF,
        typ: MAP_PIRQ_TYPE_GSI,
        index: LINE as i32,
        pirq: LINE as i32,
        ..Default::default()
    };
    hypercall::physdev_op(PHYSDEVOP_map_pirq, &mut map)
}

fn lines(domain: u16) {
    let mapped = map_line();
    let given = permit_line(domain, LINE, true);
    check!("irq_permission/given", (mapped, given) == (0, 0), "{mapped} {given}");
    let taken = permit_line(0, LINE, false);
    let again = permit_line(0, LINE, true);
    check!(
        "irq_permission/taken",
        taken == 0 && is(again, Errno::EPERM),
        "{taken} {again}"
    );
    let answer = permit_line(domain, 100_000, true);
    check!(
        "irq_permission/no-line",
        is(answer, Errno::EINVAL) || is(answer, Errno::EPERM),
        "{answer}"
    );
    let answer = permit_line(NOBODY, LINE, true);
    check!("irq_permission/nobody", is(answer, Errno::ESRCH), "{answer}");
}

/// A frame of no RAM and no device, where PCI devices have their registers.
const FRAME: u64 = 0xf_d000;

fn permit_frame(allow: bool) -> i64 {
    let ask = xen_domctl_iomem_permission {
        first_mfn: FRAME,
        nr_mfns: 1,
        allow_access: allow.into(),
        ..Default::default()
    };
    domctl(XEN_DOMCTL_iomem_permission, 0, |r| r.set_payload(&ask)).0
}

fn frames() {
    let page = take_page();
    let map = || {
        let answer = pages::map(page.address(), FRAME, PTE_DATA | 0x18);
        pages::protect(page, PTE_DATA);
        answer
    };
    let before = map();
    let taken = permit_frame(false);
    let after = map();
    check!(
        "iomem_permission/taken",
        (before, taken) == (0, 0) && is(after, Errno::EPERM),
        "{before} {taken} {after}"
    );
    let again = permit_frame(true);
    check!("iomem_permission/gone", is(again, Errno::EPERM), "{again}");
}

pub fn run() {
    let domain = create_domain();
    frames();
    ports(domain);
    lines(domain);
    destroy_domain(domain);
}
