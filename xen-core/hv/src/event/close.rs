//! Closing ports, and the end of a domain's event channels.

use super::bind::{Admin, lock_both};
use super::{fifo, shared, virq};
use crate::domain::Domain;
use crate::hypercall::preempt_needed;
use crate::irq;
use alloc::sync::Arc;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use xen_abi::Errno;
use xen_logic::evtchn::fifo::DEFAULT_PRIORITY;
use xen_logic::evtchn::free_ports::FreePorts;
use xen_logic::evtchn::port::Binding;
use xen_logic::evtchn::two_level;

/// Makes a port free. Answers the far end's domain, if it was connected, for the caller to drop when it holds no port.
pub(super) fn free(domain: &Domain, admin: &mut FreePorts, number: u32) -> Binding<Arc<Domain>> {
    let Some(port) = domain.events.ports.get(number) else {
        return Binding::Free;
    };
    let mut binding = port.binding.lock();
    let was = core::mem::replace(&mut *binding, Binding::Free);
    fifo::clear_pending(domain, number, port);
    if !domain.events.uses_fifo.load(Relaxed)
        && let Some((pending, _)) = domain.events.bits()
    {
        two_level::clear_pending(pending, number);
    }
    port.priority.store(DEFAULT_PRIORITY, Relaxed);
    port.vcpu.store(0, Relaxed);
    drop(binding);
    admin.give(number);
    was
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
        let (mut admin, there) = match &far {
            Some(remote) => lock_both(domain, remote),
            None => (domain.events.admin.lock(), None),
        };
        let binding = port.binding.lock().clone();
        let gone = match (&binding, &far) {
            (Binding::Free, _) => return Err(Errno::EINVAL),
            (Binding::Interdomain { remote, port, .. }, Some(far)) if Arc::ptr_eq(remote, far) => {
                (disconnect(domain, remote, *port), free(domain, &mut admin, number))
            }
            (Binding::Interdomain { .. }, _) => continue,
            _ => (Binding::Free, close_local(domain, &mut admin, number, &binding)),
        };
        // Domains are let go with no lock held.
        drop((admin, there));
        drop(gone);
        return Ok(());
    }
}

/// Makes port `there` of `remote` wait for `domain` again. Whoever sent through it has ended before, and nobody sends
/// through it after: so what it was connected to may be freed. Both `admin` locks are held.
fn disconnect(domain: &Domain, remote: &Domain, there: u32) -> Binding<Arc<Domain>> {
    match remote.events.ports.get(there) {
        Some(there) => core::mem::replace(&mut *there.binding.lock(), Binding::Unbound { from: domain.id }),
        None => Binding::Free,
    }
}

/// Closes a port that is not connected to another.
fn close_local(
    domain: &Domain,
    admin: &mut Admin,
    number: u32,
    binding: &Binding<Arc<Domain>>,
) -> Binding<Arc<Domain>> {
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
    free(domain, admin, number)
}

/// Ports that are closed before it is seen whether to stop.
const PORTION: u32 = 64;

/// Closes all ports of a domain that starts anew or ends, and lets its event pages go (`EVTCHNOP_reset`). `false` if
/// there is more to do: the caller, who holds no lock, gives others their turn and calls it again.
pub fn close_all(domain: &Domain) -> bool {
    let (mut closed, mut from) = (0, 1);
    loop {
        let mut admin = domain.events.admin.lock();
        let Some(number) = admin.next_used(from) else {
            // Another vcpu may have bound one behind us; one that does nothing else must not keep this CPU here.
            let all_free = admin.used() == 0;
            if all_free {
                fifo::release(domain, &mut admin);
            }
            return all_free;
        };
        drop(admin);
        // Closed by another vcpu meanwhile: as good.
        let _ = close(domain, number);
        (closed, from) = (closed + 1, number + 1);
        if closed % PORTION == 0 && preempt_needed() {
            return false;
        }
    }
}

/// Takes a dying domain's event channels apart: ports, event pages, `vcpu_info` pages, the shared page. `true` if
/// nothing is left; else the caller, who holds no lock, calls it again.
///
/// The domain's vcpus are off every CPU, and no CPU is on a way that began while the domain was alive. Later ways do
/// not reach what is let go here: nothing is bound for a dying domain, and the shared page is not shown of one.
pub fn release(domain: &Domain) -> bool {
    if !close_all(domain) {
        return false;
    }
    virq::forget_handler(domain.id);
    for v in domain.vcpus() {
        shared::release_vcpu_info(v);
    }
    shared::release_domain(domain);
    true
}
