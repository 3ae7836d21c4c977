//! Interrupts, virtual and physical, as events.

use super::{Domain, set_pending};
use crate::domain::{self, Vcpu};
use crate::sync::Once;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use xen_abi::Errno;
use xen_logic::evtchn::port::Binding;

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

/// Sends global virtual interrupt `virq` to the hardware domain.
pub fn send_global_virq(virq: u32) {
    if let Some(domain) = domain::find(0)
        && let Some(v) = domain.vcpu(0)
    {
        send_virq(v, virq);
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
