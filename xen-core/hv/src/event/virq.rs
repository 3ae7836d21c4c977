//! Interrupts, virtual and physical, as events.

use super::{Domain, set_pending};
use crate::domain::{self, Vcpu};
use crate::sync::Once;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU16, AtomicU32, Ordering::SeqCst};
use xen_abi::Errno;
use xen_logic::evtchn::port::{Binding, NR_VIRQS, virq_is_global};

/// Most physical interrupts of a domain.
const MAX_PIRQS: usize = 1024;

/// By physical interrupt: the port bound to it, 0 for none. Made at first use.
pub(super) struct PirqPorts(Once<Box<[AtomicU32]>>);

impl PirqPorts {
    pub(super) const fn new() -> Self {
        PirqPorts(Once::new())
    }

    /// The port of `pirq`, 0 for none.
    #[inline]
    pub(super) fn get(&self, pirq: u32) -> u32 {
        self.0
            .get()
            .and_then(|p| p.get(pirq as usize))
            .map_or(0, |p| p.load(SeqCst))
    }

    /// The place that holds `pirq`'s port.
    pub(super) fn slot(&self, pirq: u32) -> Result<&AtomicU32, Errno> {
        if pirq as usize >= MAX_PIRQS {
            return Err(Errno::EINVAL);
        }
        if self.0.get().is_none() {
            let mut ports = Vec::new();
            ports.try_reserve_exact(MAX_PIRQS).map_err(|_| Errno::ENOMEM)?;
            ports.extend((0..MAX_PIRQS).map(|_| AtomicU32::new(0)));
            let ports = ports.into_boxed_slice();
            self.0.call_once(|| ports);
        }
        self.0.get().and_then(|p| p.get(pirq as usize)).ok_or(Errno::EINVAL)
    }
}

/// Sends virtual interrupt `virq` to one vcpu, if its guest has bound it.
#[inline]
pub fn send_virq(v: &Vcpu, virq: u32) {
    let number = v.events.virqs.get(virq as usize).map_or(0, |p| p.load(SeqCst));
    let domain = v.domain();
    if let Some(port) = domain.events.ports.get(number) {
        // The port may have been closed and bound anew since; its lock says what it is.
        let binding = port.binding.lock();
        if matches!(*binding, Binding::Virq(bound) if bound == virq) {
            set_pending(domain, number, port);
        }
    }
}

/// By global virtual interrupt: the number of the domain that gets it.
static HANDLERS: [AtomicU16; NR_VIRQS as usize] = [const { AtomicU16::new(0) }; NR_VIRQS as usize];

/// Sends global virtual interrupt `virq` to the domain that handles it: the hardware domain, if nothing else was said.
pub fn send_global_virq(virq: u32) {
    let handler = HANDLERS.get(virq as usize).map_or(0, |h| h.load(SeqCst));
    if let Some(domain) = domain::find(handler)
        && let Some(v) = domain.vcpu(0)
    {
        send_virq(v, virq);
    }
}

/// Gives a global virtual interrupt to a domain (`XEN_DOMCTL_set_virq_handler`), until that ends.
///
/// # Errors
/// `EINVAL` for no such interrupt, or one that each vcpu has for itself; `ESRCH` for no such domain.
pub fn set_virq_handler(virq: u32, id: u16) -> Result<(), Errno> {
    let handler = HANDLERS
        .get(virq as usize)
        .filter(|_| virq_is_global(virq))
        .ok_or(Errno::EINVAL)?;
    let domain = domain::find_alive(id)?;
    handler.store(domain.id, SeqCst);
    Ok(())
}

/// What a domain handled goes back to the hardware domain.
pub(super) fn forget_handler(id: u16) {
    for handler in &HANDLERS {
        let _ = handler.compare_exchange(id, 0, SeqCst, SeqCst);
    }
}

/// Sends physical interrupt `pirq` to the domain; false where its guest has not bound it.
#[inline]
pub fn send_pirq(domain: &Domain, pirq: u32) -> bool {
    let number = domain.events.pirqs.get(pirq);
    let Some(port) = domain.events.ports.get(number) else {
        return false;
    };
    let binding = port.binding.lock();
    let bound = matches!(*binding, Binding::Pirq(bound) if bound == pirq);
    if bound {
        set_pending(domain, number, port);
    }
    bound
}
