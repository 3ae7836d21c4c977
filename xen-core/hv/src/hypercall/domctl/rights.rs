//! What a domain may touch of the machine, and which of its interrupts it hears of.

use super::Request;
use crate::event;
use crate::irq::{self, PermissionKind};
use xen_abi::*;

fn permit(r: &Request, kind: PermissionKind, first: u64, count: u64, allow: u8) -> Result<(), Errno> {
    let last = count
        .checked_sub(1)
        .and_then(|more| first.checked_add(more))
        .ok_or(Errno::EINVAL)?;
    irq::permit(r.cur.domain(), &*r.living()?, kind, (first, last), allow != 0)
}

pub(super) fn irq(r: &mut Request) -> Result<(), Errno> {
    let ask: xen_domctl_irq_permission = r.ask.payload();
    permit(r, PermissionKind::Irqs, ask.pirq.into(), 1, ask.allow_access)
}

pub(super) fn ports(r: &mut Request) -> Result<(), Errno> {
    let ask: xen_domctl_ioport_permission = r.ask.payload();
    let (first, count) = (u64::from(ask.first_port), u64::from(ask.nr_ports));
    if first + count > 1 << 16 {
        return Err(Errno::EINVAL);
    }
    permit(r, PermissionKind::Ports, first, count, ask.allow_access)
}

pub(super) fn memory(r: &mut Request) -> Result<(), Errno> {
    let ask: xen_domctl_iomem_permission = r.ask.payload();
    permit(r, PermissionKind::Frames, ask.first_mfn, ask.nr_mfns, ask.allow_access)
}

/// Gives a virtual interrupt of the machine's to the domain.
pub(super) fn virq_handler(r: &mut Request) -> Result<(), Errno> {
    let ask: xen_domctl_set_virq_handler = r.ask.payload();
    event::set_virq_handler(ask.virq, r.living()?.id)
}
