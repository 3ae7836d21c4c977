//! Binding ports, and closing them.

use super::port::Port;
use super::{fifo, set_pending};
use crate::domain::{self, Domain, Vcpu};
use crate::hypercall::preempt_needed;
use crate::irq;
use crate::sched;
use crate::sync::PollMailbox;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use spin::mutex::SpinMutexGuard;
use xen_abi::Errno;
use xen_logic::evtchn::fifo::{DEFAULT_PRIORITY, PRIORITIES};
use xen_logic::evtchn::port::{Binding, NR_VIRQS, Status, virq_is_global};
use xen_logic::evtchn::two_level;

type Admin<'a> = SpinMutexGuard<'a, (), PollMailbox>;

/// Takes a free port; the caller, who holds the `admin` lock, binds it.
fn find_free(domain: &Domain) -> Result<(u32, &Port), Errno> {
    domain
        .events
        .ports
        .find_free(domain.events.port_limit(), |number| !fifo::is_linked(domain, number))
}

/// Binds a free port to `binding`, to notify vcpu `vcpu`.
fn bind_free(domain: &Domain, vcpu: u32, binding: Binding<Arc<Domain>>) -> Result<u32, Errno> {
    let (number, port) = find_free(domain)?;
    port.vcpu.store(vcpu, Relaxed);
    *port.binding.lock() = binding;
    Ok(number)
}

/// A port that waits for domain `from` to connect (`EVTCHNOP_alloc_unbound`).
///
/// # Errors
/// `ENOSPC` when all are in use, `ENOMEM`.
pub fn alloc_unbound(domain: &Domain, from: u16) -> Result<u32, Errno> {
    let _admin = domain.events.admin.lock();
    bind_free(domain, 0, Binding::Unbound { from })
}

/// Locks two domains, the lower number first; one that is both is locked once.
fn lock_both<'a>(a: &'a Domain, b: &'a Domain) -> (Admin<'a>, Option<Admin<'a>>) {
    match a.id.cmp(&b.id) {
        core::cmp::Ordering::Equal => (a.events.admin.lock(), None),
        core::cmp::Ordering::Less => {
            let first = a.events.admin.lock();
            (first, Some(b.events.admin.lock()))
        }
        core::cmp::Ordering::Greater => {
            let first = b.events.admin.lock();
            (first, Some(a.events.admin.lock()))
        }
    }
}

/// Connects a new port of `local` to a port of `remote` that waits for it (`EVTCHNOP_bind_interdomain`).
///
/// # Errors
/// `EINVAL` for a port that does not wait for `local`; as [`alloc_unbound`].
pub fn bind_interdomain(local: &Arc<Domain>, remote: &Arc<Domain>, there: u32) -> Result<u32, Errno> {
    let _both = lock_both(local, remote);
    let far = remote.events.ports.get(there).ok_or(Errno::EINVAL)?;
    far.binding.lock().check_connect(local.id)?;
    let here = bind_free(
        local,
        0,
        Binding::Interdomain {
            remote: remote.clone(),
            id: remote.id,
            port: there,
        },
    )?;
    *far.binding.lock() = Binding::Interdomain {
        remote: local.clone(),
        id: local.id,
        port: here,
    };
    // What was sent to the waiting port is lost: let the guest look once.
    if let Some(port) = local.events.ports.get(here) {
        let _binding = port.binding.lock();
        set_pending(local, here, port);
    }
    Ok(here)
}

/// Binds a virtual interrupt (`EVTCHNOP_bind_virq`).
///
/// # Errors
/// `EINVAL` for no such interrupt, or a global one with a vcpu other than 0, `ENOENT` for no such vcpu, `EEXIST` for
/// one that is bound; as [`alloc_unbound`].
pub fn bind_virq(domain: &Domain, virq: u32, vcpu: u32) -> Result<u32, Errno> {
    if virq >= NR_VIRQS || virq_is_global(virq) && vcpu != 0 {
        return Err(Errno::EINVAL);
    }
    let v = domain.vcpu(vcpu).ok_or(Errno::ENOENT)?;
    let _admin = domain.events.admin.lock();
    let slot = &v.events.virqs[virq as usize];
    if slot.load(Relaxed) != 0 {
        return Err(Errno::EEXIST);
    }
    let number = bind_free(domain, vcpu, Binding::Virq(virq))?;
    slot.store(number, SeqCst);
    Ok(number)
}

/// Binds a port through which vcpus signal vcpu `vcpu` (`EVTCHNOP_bind_ipi`).
///
/// # Errors
/// `ENOENT` for no such vcpu; as [`alloc_unbound`].
pub fn bind_ipi(domain: &Domain, vcpu: u32) -> Result<u32, Errno> {
    domain.vcpu(vcpu).ok_or(Errno::ENOENT)?;
    let _admin = domain.events.admin.lock();
    bind_free(domain, vcpu, Binding::Ipi)
}

/// Binds a physical interrupt (`EVTCHNOP_bind_pirq`).
///
/// # Errors
/// `EEXIST` for one that is bound; as [`irq::bind_pirq`] and [`alloc_unbound`].
pub fn bind_pirq(domain: &Domain, pirq: u32, share: bool) -> Result<u32, Errno> {
    let _admin = domain.events.admin.lock();
    let slot = domain.events.pirqs.slot(pirq)?;
    if slot.load(Relaxed) != 0 {
        return Err(Errno::EEXIST);
    }
    let number = bind_free(domain, 0, Binding::Pirq(pirq))?;
    slot.store(number, SeqCst);
    // Without the port's lock: the interrupt's lock comes before that, where the interrupt arrives.
    if let Err(errno) = irq::bind_pirq(domain, pirq, share) {
        slot.store(0, SeqCst);
        free(domain, number);
        return Err(errno);
    }
    Ok(number)
}

/// Makes a port free. The caller holds the `admin` lock.
fn free(domain: &Domain, number: u32) {
    let Some(port) = domain.events.ports.get(number) else {
        return;
    };
    let mut binding = port.binding.lock();
    *binding = Binding::Free;
    fifo::clear_pending(domain, number, port);
    if !domain.events.uses_fifo.load(Relaxed)
        && let Some((pending, _)) = domain.events.bits()
    {
        two_level::clear_pending(pending, number);
    }
    port.priority.store(DEFAULT_PRIORITY, Relaxed);
    port.vcpu.store(0, Relaxed);
    drop(binding);
    domain.events.ports.freed(number);
}

/// Closes a port (`EVTCHNOP_close`); the other end of a connection waits anew.
///
/// # Errors
/// `EINVAL` for a port that is closed.
pub fn close(domain: &Domain, number: u32) -> Result<(), Errno> {
    let port = domain.events.ports.get(number).ok_or(Errno::EINVAL)?;
    loop {
        // Who is at the other end says which locks are needed; with them held, that is looked at again.
        let far = match &*port.binding.lock() {
            Binding::Free => return Err(Errno::EINVAL),
            Binding::Interdomain { remote, .. } => Some(remote.clone()),
            _ => None,
        };
        let _locks = match &far {
            Some(remote) => lock_both(domain, remote),
            None => (domain.events.admin.lock(), None),
        };
        let binding = port.binding.lock().clone();
        match (&binding, &far) {
            (Binding::Free, _) => return Err(Errno::EINVAL),
            (Binding::Interdomain { remote, port, .. }, Some(far)) if Arc::ptr_eq(remote, far) => {
                free(domain, number);
                if let Some(there) = remote.events.ports.get(*port) {
                    *there.binding.lock() = Binding::Unbound { from: domain.id };
                }
            }
            (Binding::Interdomain { .. }, _) => continue,
            _ => close_local(domain, number, &binding),
        }
        return Ok(());
    }
}

/// Closes a port that is not connected to another. The caller holds the `admin` lock.
fn close_local(domain: &Domain, number: u32, binding: &Binding<Arc<Domain>>) {
    match binding {
        Binding::Pirq(pirq) => {
            irq::unbind_pirq(domain, *pirq);
            if let Ok(slot) = domain.events.pirqs.slot(*pirq) {
                slot.store(0, SeqCst);
            }
        }
        Binding::Virq(virq) => {
            // A global one may have moved since it was bound.
            for v in domain.vcpus() {
                let _ = v.events.virqs[*virq as usize].compare_exchange(number, 0, SeqCst, SeqCst);
            }
        }
        _ => {}
    }
    free(domain, number);
}

/// Ports that are closed before it is seen whether to stop.
const PORTION: u32 = 64;

/// Closes all ports of a domain that starts anew or ends, and lets its event pages go (`EVTCHNOP_reset`). `false` if
/// there is more to do: the caller, who holds no lock, gives others their turn and calls it again.
pub fn close_all(domain: &Domain) -> bool {
    let mut closed = 0;
    for (number, _) in domain.events.ports.iter() {
        if close(domain, number).is_ok() {
            closed += 1;
            if closed % PORTION == 0 && preempt_needed() {
                return false;
            }
        }
    }
    let _admin = domain.events.admin.lock();
    // Another vcpu may have bound one in the meantime; one that does nothing else must not keep this CPU here.
    let all_free = domain
        .events
        .ports
        .iter()
        .all(|(_, port)| port.binding.lock().is_free());
    if all_free {
        fifo::release(domain);
    }
    all_free
}

/// The state of a port, and the vcpu it notifies (`EVTCHNOP_status`).
///
/// # Errors
/// `EINVAL` for a number that was never a port.
pub fn status(domain: &Domain, number: u32) -> Result<(Status, u32), Errno> {
    if number == 0 || number >= domain.events.port_limit() {
        return Err(Errno::EINVAL);
    }
    let Some(port) = domain.events.ports.get(number) else {
        return Ok(((0, 0, 0), 0));
    };
    let binding = port.binding.lock();
    Ok((binding.status(), port.vcpu.load(Relaxed)))
}

/// Chooses the vcpu that a port notifies (`EVTCHNOP_bind_vcpu`); takes effect with the next event.
///
/// # Errors
/// `ENOENT` for no such vcpu, `EINVAL` for a port that is closed or belongs to a vcpu.
pub fn bind_vcpu(domain: &Domain, number: u32, vcpu: u32) -> Result<(), Errno> {
    let v: &'static Vcpu = domain.vcpu(vcpu).ok_or(Errno::ENOENT)?;
    let port = domain.events.ports.get(number).ok_or(Errno::EINVAL)?;
    let _admin = domain.events.admin.lock();
    let mut pirq = None;
    {
        let binding = port.binding.lock();
        binding.check_rebind()?;
        if let Binding::Pirq(bound) = &*binding {
            pirq = Some(*bound);
        }
        port.vcpu.store(vcpu, Relaxed);
    }
    if let Some(pirq) = pirq {
        irq::set_pirq_affinity(domain, pirq, sched::cpu_of(v));
    }
    Ok(())
}

/// Sets the priority of a port's events (`EVTCHNOP_set_priority`).
///
/// # Errors
/// `ENOSYS` in the two-level layout, `EINVAL` for a port that is closed or no such priority.
pub fn set_priority(domain: &Domain, number: u32, priority: u32) -> Result<(), Errno> {
    let port = domain.events.ports.get(number).ok_or(Errno::EINVAL)?;
    let _admin = domain.events.admin.lock();
    let binding = port.binding.lock();
    if binding.is_free() {
        return Err(Errno::EINVAL);
    }
    if !domain.events.uses_fifo.load(Relaxed) {
        return Err(Errno::ENOSYS);
    }
    if priority as usize >= PRIORITIES {
        return Err(Errno::EINVAL);
    }
    port.priority.store(priority as u8, Relaxed);
    Ok(())
}

/// A domain by the number a caller gave, with a reference of its own.
pub(crate) fn find(cur: &Vcpu, id: u16) -> Result<Arc<Domain>, Errno> {
    let id = if id == xen_abi::DOMID_SELF { cur.domain().id } else { id };
    domain::find(id).ok_or(Errno::ESRCH)
}
