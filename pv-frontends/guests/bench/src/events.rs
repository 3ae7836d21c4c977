//! Events to this domain itself, and timers.
use crate::measure::{BATCHES, ROUNDS, bench, of_parts, timed};
use guest_rt::events::{fired, set_mask, unmask_port};
use guest_rt::{check, clock, hypercall, vcpu};
use xen_abi::*;

fn send(port: u32) {
    hypercall::event_channel_op(EVTCHNOP_send, &mut evtchn_send { port });
}

/// A channel from this domain to itself: send, delivery, handler; and a send that finds the other end masked.
fn to_self() {
    let mut unbound = evtchn_alloc_unbound {
        dom: DOMID_SELF,
        remote_dom: DOMID_SELF,
        port: 0,
    };
    let made = hypercall::event_channel_op(EVTCHNOP_alloc_unbound, &mut unbound);
    let mut bind = evtchn_bind_interdomain {
        remote_dom: DOMID_SELF,
        _pad: 0,
        remote_port: unbound.port,
        local_port: 0,
    };
    let bound = hypercall::event_channel_op(EVTCHNOP_bind_interdomain, &mut bind);
    check!("events/channel", made == 0 && bound == 0, "{made} {bound}");
    unmask_port(unbound.port);
    unmask_port(bind.local_port);
    set_mask(false);
    let before = fired(unbound.port);
    bench("event_to_self", of_parts(|| timed(|| send(bind.local_port))));
    let expected = 1 + BATCHES * ROUNDS as u32;
    let count = fired(unbound.port) - before;
    check!("events/delivered", count == expected, "{count} of {expected}");
    set_mask(true);
    bench("event_to_self_masked", of_parts(|| timed(|| send(bind.local_port))));
}

/// A timer that is set and never fires, and one that fires at once, by its event.
fn timers() {
    let mut bind = evtchn_bind_virq {
        virq: VIRQ_TIMER,
        vcpu: 0,
        port: 0,
    };
    let bound = hypercall::event_channel_op(EVTCHNOP_bind_virq, &mut bind);
    check!("timer/bound", bound == 0, "{bound}");
    let set = |at: u64| {
        let mut timer = vcpu_set_singleshot_timer {
            timeout_abs_ns: at,
            ..Default::default()
        };
        hypercall::vcpu_op(VCPUOP_set_singleshot_timer, vcpu::number() as u32, &mut timer)
    };
    let far = clock::system_time() + 3_600_000_000_000;
    let mut failures = 0;
    bench("timer_set", of_parts(|| timed(|| failures |= set(far))));
    unmask_port(bind.port);
    set_mask(false);
    let mut fire = || {
        let before = fired(bind.port);
        let now = clock::system_time();
        timed(|| {
            failures |= set(now);
            while fired(bind.port) == before {
                core::hint::spin_loop();
            }
        })
    };
    bench("timer_fires", of_parts(&mut fire));
    set_mask(true);
    hypercall::vcpu_op(VCPUOP_stop_singleshot_timer, vcpu::number() as u32, &mut ());
    hypercall::event_channel_op(EVTCHNOP_close, &mut evtchn_close { port: bind.port });
    check!("timer/set", failures == 0, "{failures}");
}

/// Measures all of them.
pub fn run() {
    to_self();
    timers();
}
