//! Pausing, resuming, ending a domain.

use super::Request;
use crate::domain::{self, destroy, life};
use crate::hypercall::Stop;
use crate::{event, sched};
use core::sync::atomic::Ordering::SeqCst;
use xen_abi::*;

/// Takes a domain apart, in as many calls as that takes.
pub(super) fn destroy(r: &mut Request) -> Result<(), Stop> {
    let domain = r.domain()?;
    if domain.id == r.cur.domain().id || domain.privileged {
        return Err(Errno::EINVAL.into());
    }
    destroy::destroy(&domain, r.args)
}

pub(super) fn pause(r: &mut Request) -> Result<(), Errno> {
    life::pause(&*r.other()?)
}

pub(super) fn unpause(r: &mut Request) -> Result<(), Errno> {
    life::unpause(&*r.other()?)
}

pub(super) fn resume(r: &mut Request) -> Result<(), Errno> {
    domain::resume(&*r.other()?);
    Ok(())
}

/// Names the port of the domain's that hears of its suspension; it must be a channel to somebody.
pub(super) fn subscribe(r: &mut Request) -> Result<(), Errno> {
    /// `struct xen_domctl_subscribe`.
    type Subscribe = u32;
    let port: Subscribe = r.ask.payload();
    let domain = r.other()?;
    if port != 0 {
        event::status(&domain, port)?;
    }
    domain.life.suspend_port.store(port, SeqCst);
    Ok(())
}

/// Sends an NMI to a vcpu; the other triggers are buttons of machines that PV domains have not.
pub(super) fn send_trigger(r: &mut Request) -> Result<(), Errno> {
    let ask: xen_domctl_sendtrigger = r.ask.payload();
    let domain = r.living()?;
    let v = domain.vcpu(ask.vcpu).ok_or(Errno::ESRCH)?;
    match ask.trigger {
        XEN_DOMCTL_SENDTRIGGER_NMI => sched::send_nmi(v),
        XEN_DOMCTL_SENDTRIGGER_POWER | XEN_DOMCTL_SENDTRIGGER_SLEEP => return Err(Errno::EINVAL),
        _ => return Err(Errno::ENOSYS),
    }
    Ok(())
}
