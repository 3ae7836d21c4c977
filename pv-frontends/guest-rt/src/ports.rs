//! Event channels that are looked at, not called back for: their ports stay masked, and who waits sleeps in
//! `SCHEDOP_poll`.
use crate::{clock, events, hypercall};
use core::sync::atomic::Ordering;
use xen_abi::*;

/// Most ports of one `SCHEDOP_poll`.
const POLL_MOST: usize = 128;
/// Where more ports are waited for, the others are looked at this often, in nanoseconds.
const GLANCE: u64 = 1_000_000;

fn answered(answer: i64, port: evtchn_port_t) -> Result<evtchn_port_t, i64> {
    if answer < 0 {
        return Err(answer);
    }
    set_masked(port);
    Ok(port)
}

/// Makes a port that domain `peer` may bind to; the error is the hypervisor's negative errno, as everywhere here.
pub fn allocate_unbound(peer: domid_t) -> Result<evtchn_port_t, i64> {
    let mut ask = evtchn_alloc_unbound {
        dom: DOMID_SELF,
        remote_dom: peer,
        port: 0,
    };
    let answer = hypercall::event_channel_op(EVTCHNOP_alloc_unbound, &mut ask);
    answered(answer, ask.port)
}

/// Makes a port that is connected to `peer`'s port `remote`.
pub fn bind_interdomain(peer: domid_t, remote: evtchn_port_t) -> Result<evtchn_port_t, i64> {
    let mut ask = evtchn_bind_interdomain {
        remote_dom: peer,
        _pad: 0,
        remote_port: remote,
        local_port: 0,
    };
    let answer = hypercall::event_channel_op(EVTCHNOP_bind_interdomain, &mut ask);
    answered(answer, ask.local_port)
}

/// Makes a port for a virtual interrupt (`VIRQ_*`) of a vcpu.
pub fn bind_virq(virq: u32, vcpu: u32) -> Result<evtchn_port_t, i64> {
    let mut ask = evtchn_bind_virq { virq, vcpu, port: 0 };
    let answer = hypercall::event_channel_op(EVTCHNOP_bind_virq, &mut ask);
    answered(answer, ask.port)
}

/// Makes a port for a physical interrupt that was mapped (`PHYSDEVOP_map_pirq`); `shared` where other domains use it, too.
pub fn bind_pirq(pirq: u32, shared: bool) -> Result<evtchn_port_t, i64> {
    let flags = if shared { BIND_PIRQ__WILL_SHARE } else { 0 };
    let mut ask = evtchn_bind_pirq { pirq, flags, port: 0 };
    let answer = hypercall::event_channel_op(EVTCHNOP_bind_pirq, &mut ask);
    answered(answer, ask.port)
}

/// Sends an event; the hypervisor's answer.
pub fn send(port: evtchn_port_t) -> i64 {
    hypercall::event_channel_op(EVTCHNOP_send, &mut evtchn_send { port })
}

/// Closes a port; the hypervisor's answer.
pub fn close(port: evtchn_port_t) -> i64 {
    let answer = hypercall::event_channel_op(EVTCHNOP_close, &mut evtchn_close { port });
    // The number may come back for another channel.
    take(port);
    answer
}

fn bit(port: evtchn_port_t) -> u64 {
    1 << (port % 64)
}

fn word(port: evtchn_port_t) -> usize {
    (port % EVTCHN_2L_NR_CHANNELS / 64) as usize * 8
}

fn set_masked(port: evtchn_port_t) {
    events::shared_word(SHARED_INFO_EVTCHN_MASK + word(port)).fetch_or(bit(port), Ordering::SeqCst);
}

/// Whether an event is pending at a port.
pub fn is_pending(port: evtchn_port_t) -> bool {
    events::shared_word(SHARED_INFO_EVTCHN_PENDING + word(port)).load(Ordering::SeqCst) & bit(port) != 0
}

/// Whether an event was pending; it is not any more.
pub fn take(port: evtchn_port_t) -> bool {
    let pending = events::shared_word(SHARED_INFO_EVTCHN_PENDING + word(port));
    // Most looks find nothing: a load is cheaper for both sides.
    is_pending(port) && pending.fetch_and(!bit(port), Ordering::SeqCst) & bit(port) != 0
}

/// Sleeps until an event is pending at one of the ports or until system time `deadline`, in nanoseconds; true for an
/// event.
pub fn wait(ports: impl Iterator<Item = evtchn_port_t> + Clone, deadline: Option<u64>) -> bool {
    let mut list = [0; POLL_MOST];
    let mut count = 0;
    for (slot, port) in list.iter_mut().zip(ports.clone()) {
        *slot = port;
        count += 1;
    }
    let are_more = ports.clone().nth(POLL_MOST).is_some();
    loop {
        if ports.clone().any(is_pending) {
            return true;
        }
        let now = clock::system_time();
        if deadline.is_some_and(|deadline| now >= deadline) {
            return false;
        }
        let glance = are_more.then_some(now + GLANCE);
        let timeout = deadline.into_iter().chain(glance).min().unwrap_or(0);
        poll(&list[..count], timeout);
    }
}

fn poll(ports: &[evtchn_port_t], timeout: u64) {
    if ports.is_empty() && timeout == 0 {
        // Nothing can wake it: let it be stopped from outside.
        hypercall::sched_op(SCHEDOP_block, &mut ());
        return;
    }
    let mut ask = sched_poll {
        ports: ports.as_ptr() as u64,
        nr_ports: ports.len() as u32,
        _pad: 0,
        timeout,
    };
    hypercall::sched_op(SCHEDOP_poll, &mut ask);
}
