//! Binding ports.

use super::close::free;
use super::port::Port;
use super::{fifo, set_pending};
use crate::domain::{self, Domain, Vcpu};
use crate::irq;
use crate::sched;
use crate::sync::PollMailbox;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use spin::mutex::SpinMutexGuard;
use xen_abi::Errno;
use xen_logic::evtchn::fifo::PRIORITIES;
use xen_logic::evtchn::free_ports::FreePorts;
use xen_logic::evtchn::port::{Binding, NR_VIRQS, Status, virq_is_global};

/// The held `admin` lock of a domain.
pub(super) type Admin<'a> = SpinMutexGuard<'a, FreePorts, PollMailbox>;

/// How many closed ports that the guest still has in a queue are passed over in search of one that it has not. The
/// words are the guest's: one that leaves them all there finds no port.
const TRIES: u32 = 4096;

/// Takes the lowest free port; the caller binds it before it lets go of the lock.
fn take_free<'a>(domain: &'a Domain, admin: &mut FreePorts) -> Result<(u32, &'a Port), Errno> {
    let limit = domain.events.port_limit();
    let mut from = 1;
    for _ in 0..TRIES {
        let number = admin.next_free(from).filter(|n| *n < limit).ok_or(Errno::ENOSPC)?;
        if !fifo::is_linked(domain, number) {
            let port = domain.events.ports.make(number)?;
            admin.take(number)?;
            return Ok((number, port));
        }
        from = number + 1;
    }
    Err(Errno::ENOSPC)
}

/// Binds a free port to `binding`, to notify vcpu `vcpu`.
fn bind_free(domain: &Domain, admin: &mut FreePorts, vcpu: u32, binding: Binding<Arc<Domain>>) -> Result<u32, Errno> {
    let (number, port) = take_free(domain, admin)?;
    port.vcpu.store(vcpu, Relaxed);
    *port.binding.lock() = binding;
    Ok(number)
}

/// A port that waits for domain `from` to connect (`EVTCHNOP_alloc_unbound`).
///
/// # Errors
/// `ENOSPC` when all are in use, `ENOMEM`.
pub fn alloc_unbound(domain: &Domain, from: u16) -> Result<u32, Errno> {
    bind_free(domain, &mut domain.events.admin.lock(), 0, Binding::Unbound { from })
}

/// Locks two domains, the lower number first, and answers `a`'s lock before `b`'s; one that is both is locked once.
pub(super) fn lock_both<'a>(a: &'a Domain, b: &'a Domain) -> (Admin<'a>, Option<Admin<'a>>) {
    match a.id.cmp(&b.id) {
        core::cmp::Ordering::Equal => (a.events.admin.lock(), None),
        core::cmp::Ordering::Less => {
            let first = a.events.admin.lock();
            (first, Some(b.events.admin.lock()))
        }
        core::cmp::Ordering::Greater => {
            let second = b.events.admin.lock();
            (a.events.admin.lock(), Some(second))
        }
    }
}

/// Connects a new port of `local` to a port of `remote` that waits for it (`EVTCHNOP_bind_interdomain`).
///
/// # Errors
/// `EINVAL` for a port that does not wait for `local`; as [`alloc_unbound`].
pub fn bind_interdomain(local: &Arc<Domain>, remote: &Arc<Domain>, there: u32) -> Result<u32, Errno> {
    let (mut admin, _there) = lock_both(local, remote);
    let far = remote.events.ports.get(there).ok_or(Errno::EINVAL)?;
    far.binding.lock().check_connect(local.id)?;
    let here = bind_free(
        local,
        &mut admin,
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
    let mut admin = domain.events.admin.lock();
    let slot = &v.events.virqs[virq as usize];
    if slot.load(Relaxed) != 0 {
        return Err(Errno::EEXIST);
    }
    let number = bind_free(domain, &mut admin, vcpu, Binding::Virq(virq))?;
    slot.store(number, SeqCst);
    Ok(number)
}

/// Binds a port through which vcpus signal vcpu `vcpu` (`EVTCHNOP_bind_ipi`).
///
/// # Errors
/// `ENOENT` for no such vcpu; as [`alloc_unbound`].
pub fn bind_ipi(domain: &Domain, vcpu: u32) -> Result<u32, Errno> {
    domain.vcpu(vcpu).ok_or(Errno::ENOENT)?;
    bind_free(domain, &mut domain.events.admin.lock(), vcpu, Binding::Ipi)
}

/// Binds a physical interrupt (`EVTCHNOP_bind_pirq`).
///
/// # Errors
/// `EEXIST` for one that is bound; as [`irq::bind_pirq`] and [`alloc_unbound`].
pub fn bind_pirq(domain: &Domain, pirq: u32, share: bool) -> Result<u32, Errno> {
    let mut admin = domain.events.admin.lock();
    let slot = domain.events.pirqs.slot(pirq)?;
    if slot.load(Relaxed) != 0 {
        return Err(Errno::EEXIST);
    }
    let number = bind_free(domain, &mut admin, 0, Binding::Pirq(pirq))?;
    slot.store(number, SeqCst);
    // Without the port's lock: the interrupt's lock comes before that, where the interrupt arrives.
    if let Err(errno) = irq::bind_pirq(domain, pirq, share) {
        slot.store(0, SeqCst);
        free(domain, &mut admin, number);
        return Err(errno);
    }
    Ok(number)
}

/// The state of a port, and the vcpu it notifies (`EVTCHNOP_status`).
///
/// # Errors
/// `EINVAL` for a number that was never a port; port 0 is one that is always closed.
pub fn status(domain: &Domain, number: u32) -> Result<(Status, u32), Errno> {
    if number == 0 {
        return Ok(((0, 0, 0), 0));
    }
    let port = domain.events.ports.get(number).ok_or(Errno::EINVAL)?;
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

/// The number of a domain that a caller named, which may have said `DOMID_SELF`.
fn number_of(cur: &Vcpu, id: u16) -> u16 {
    if id == xen_abi::DOMID_SELF { cur.domain().id } else { id }
}

/// A domain by the number a caller gave, with a reference of its own.
///
/// # Errors
/// `ESRCH`.
pub(crate) fn find(cur: &Vcpu, id: u16) -> Result<Arc<Domain>, Errno> {
    domain::find(number_of(cur, id)).ok_or(Errno::ESRCH)
}

/// As [`find`], for one that is to get a port or a connection: not one that is at its end.
///
/// # Errors
/// `ESRCH`.
pub(crate) fn find_alive(cur: &Vcpu, id: u16) -> Result<Arc<Domain>, Errno> {
    domain::find_alive(number_of(cur, id))
}
