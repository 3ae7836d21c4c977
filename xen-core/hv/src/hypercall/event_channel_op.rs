//! `event_channel_op`: ports, and what is sent through them.

use super::{Outcome, Stop};
use crate::domain::{Domain, Vcpu};
use crate::event;
use crate::guest::{GuestPtr, Wire};
use alloc::sync::Arc;
use xen_abi::*;

/// The hypercall: command, argument.
pub fn event_channel_op(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    match args[0] as u32 {
        // The two that matter come first.
        EVTCHNOP_send => {
            let ask = GuestPtr::<evtchn_send>::new(args[1]).read()?;
            event::send(cur.domain(), ask.port)?;
        }
        EVTCHNOP_unmask => {
            let ask = GuestPtr::<evtchn_unmask>::new(args[1]).read()?;
            event::unmask(cur.domain(), ask.port)?;
        }
        EVTCHNOP_close => {
            let ask = GuestPtr::<evtchn_close>::new(args[1]).read()?;
            event::close(cur.domain(), ask.port)?;
        }
        EVTCHNOP_bind_vcpu => {
            let ask = GuestPtr::<evtchn_bind_vcpu>::new(args[1]).read()?;
            event::bind_vcpu(cur.domain(), ask.port, ask.vcpu)?;
        }
        EVTCHNOP_set_priority => {
            let ask = GuestPtr::<evtchn_set_priority>::new(args[1]).read()?;
            event::set_priority(cur.domain(), ask.port, ask.priority)?;
        }
        EVTCHNOP_expand_array => {
            let ask = GuestPtr::<evtchn_expand_array>::new(args[1]).read()?;
            event::expand_array(cur.domain(), ask.array_gfn)?;
        }
        EVTCHNOP_init_control => init_control(cur, GuestPtr::new(args[1]))?,
        EVTCHNOP_status => status(cur, GuestPtr::new(args[1]))?,
        EVTCHNOP_reset => reset(cur, args)?,
        command => bind(cur, command, args[1])?,
    }
    Ok(0)
}

/// The requests that make a port and tell its number.
fn bind(cur: &'static Vcpu, command: u32, arg: u64) -> Result<(), Stop> {
    let domain = cur.domain();
    match command {
        EVTCHNOP_alloc_unbound => answer(domain, arg, |ask: &mut evtchn_alloc_unbound| {
            let owner = permitted_alive(cur, ask.dom)?;
            let from = if ask.remote_dom == DOMID_SELF {
                domain.id
            } else {
                ask.remote_dom
            };
            ask.port = event::alloc_unbound(&owner, from)?;
            Ok((owner, ask.port))
        }),
        EVTCHNOP_bind_interdomain => answer(domain, arg, |ask: &mut evtchn_bind_interdomain| {
            let local = event::find(cur, DOMID_SELF)?;
            let remote = event::find_alive(cur, ask.remote_dom)?;
            ask.local_port = event::bind_interdomain(&local, &remote, ask.remote_port)?;
            Ok((local, ask.local_port))
        }),
        EVTCHNOP_bind_virq => answer(domain, arg, |ask: &mut evtchn_bind_virq| {
            ask.port = event::bind_virq(domain, ask.virq, ask.vcpu)?;
            Ok((event::find(cur, DOMID_SELF)?, ask.port))
        }),
        EVTCHNOP_bind_ipi => answer(domain, arg, |ask: &mut evtchn_bind_ipi| {
            ask.port = event::bind_ipi(domain, ask.vcpu)?;
            Ok((event::find(cur, DOMID_SELF)?, ask.port))
        }),
        EVTCHNOP_bind_pirq => answer(domain, arg, |ask: &mut evtchn_bind_pirq| {
            ask.port = event::bind_pirq(domain, ask.pirq, ask.flags & BIND_PIRQ__WILL_SHARE != 0)?;
            Ok((event::find(cur, DOMID_SELF)?, ask.port))
        }),
        _ => Err(Errno::ENOSYS.into()),
    }
}

/// Reads a request, carries it out and writes it back with its result. A guest that cannot be told the number of its
/// port does not keep it.
fn answer<T: Wire>(
    _domain: &Domain,
    arg: u64,
    make: impl FnOnce(&mut T) -> Result<(Arc<Domain>, u32), Errno>,
) -> Result<(), Stop> {
    let at = GuestPtr::<T>::new(arg);
    let mut ask = at.read()?;
    let (owner, port) = make(&mut ask)?;
    if let Err(errno) = at.write(&ask) {
        let _ = event::close(&owner, port);
        return Err(errno.into());
    }
    Ok(())
}

/// The domain a request is about: the caller's own, or any for a privileged caller.
fn permitted(cur: &Vcpu, id: domid_t) -> Result<Arc<Domain>, Errno> {
    check(cur, event::find(cur, id)?)
}

/// As [`permitted`], where the domain is to get something.
fn permitted_alive(cur: &Vcpu, id: domid_t) -> Result<Arc<Domain>, Errno> {
    check(cur, event::find_alive(cur, id)?)
}

fn check(cur: &Vcpu, domain: Arc<Domain>) -> Result<Arc<Domain>, Errno> {
    if domain.id == cur.domain().id || cur.domain().privileged {
        Ok(domain)
    } else {
        Err(Errno::EPERM)
    }
}

fn init_control(cur: &Vcpu, at: GuestPtr<evtchn_init_control>) -> Result<(), Stop> {
    let mut ask = at.read()?;
    ask.link_bits = event::init_control(cur.domain(), ask.vcpu, ask.control_gfn, ask.offset)?;
    Ok(at.write(&ask)?)
}

fn status(cur: &Vcpu, at: GuestPtr<evtchn_status>) -> Result<(), Stop> {
    let mut ask = at.read()?;
    let ((status, u0, u1), vcpu) = event::status(&*permitted(cur, ask.dom)?, ask.port)?;
    (ask.status, ask.u0, ask.u1, ask.vcpu) = (status, u0, u1, vcpu);
    Ok(at.write(&ask)?)
}

/// Goes on as the same call where there are many ports. The older hypercall does not come here.
fn reset(cur: &Vcpu, args: &[u64; 6]) -> Result<(), Stop> {
    let ask = GuestPtr::<evtchn_reset>::new(args[1]).read()?;
    if event::close_all(&*permitted(cur, ask.dom)?) {
        Ok(())
    } else {
        Err(Stop::Again(*args))
    }
}

/// The older hypercall: one structure with the command and its argument.
pub fn event_channel_op_compat(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    let command = GuestPtr::<u32>::new(args[0]).read()?;
    if command > EVTCHNOP_unmask {
        return Err(Errno::ENOSYS.into());
    }
    // The argument follows the command at once: none of these has a field wider than 32 bits.
    event_channel_op(cur, &[command as u64, args[0].wrapping_add(4), 0, 0, 0, 0])
}
