//! Events to oneself, masks, the one-shot timer, run states.
use guest_rt::events::{fired, set_mask, unmask_port};
use guest_rt::{check, hypercall};
use xen_abi::*;

fn send(port: u32) -> i64 {
    hypercall::event_channel_op(EVTCHNOP_send, &mut evtchn_send { port })
}

fn ipi() {
    let mut bind = evtchn_bind_ipi::default();
    let answer = hypercall::event_channel_op(EVTCHNOP_bind_ipi, &mut bind);
    let port = bind.port;
    check!("events/bind-ipi", answer == 0 && port != 0, "{answer} {port}");
    set_mask(true);
    let before = fired(port);
    let answer = send(port);
    hypercall::version();
    check!(
        "events/masked",
        answer == 0 && fired(port) == before,
        "{answer} {}",
        fired(port)
    );
    set_mask(false);
    check!("events/unmasked", fired(port) == before + 1, "{}", fired(port));
    send(port);
    check!("events/at-once", fired(port) == before + 2, "{}", fired(port));
    let answer = hypercall::event_channel_op(EVTCHNOP_close, &mut evtchn_close { port });
    check!("events/close", answer == 0 && send(port) < 0, "{answer}");
}

/// The system time of now, from the vcpu's clock parameters.
fn system_time() -> u64 {
    let mut info = vcpu_runstate_info::default();
    hypercall::vcpu_op(VCPUOP_get_runstate_info, 0, &mut info);
    info.time.iter().sum::<u64>() + info.state_entry_time
}

fn timer() {
    let mut bind = evtchn_bind_virq {
        virq: VIRQ_TIMER,
        ..Default::default()
    };
    let answer = hypercall::event_channel_op(EVTCHNOP_bind_virq, &mut bind);
    let port = bind.port;
    check!("events/bind-timer", answer == 0 && port != 0, "{answer} {port}");
    unmask_port(port);
    hypercall::vcpu_op(VCPUOP_stop_periodic_timer, 0, &mut ());
    let before = fired(port);
    let mut past = vcpu_set_singleshot_timer {
        timeout_abs_ns: 1,
        ..Default::default()
    };
    let answer = hypercall::vcpu_op(VCPUOP_set_singleshot_timer, 0, &mut past);
    for _ in 0..100 {
        if fired(port) != before {
            break;
        }
        hypercall::sched_op(SCHEDOP_block, &mut ());
    }
    check!(
        "events/timer-in-the-past",
        answer == 0 && fired(port) > before,
        "{answer} {}",
        fired(port)
    );
    past.flags = VCPU_SSHOTTMR_future;
    let answer = hypercall::vcpu_op(VCPUOP_set_singleshot_timer, 0, &mut past);
    // Xen before 4.14 says -ETIME, later ones fire at once.
    check!("events/timer-future-flag", answer == -62 || answer == 0, "{answer}");

    let before = fired(port);
    let start = system_time();
    let mut soon = vcpu_set_singleshot_timer {
        timeout_abs_ns: start + 20_000_000,
        ..Default::default()
    };
    let answer = hypercall::vcpu_op(VCPUOP_set_singleshot_timer, 0, &mut soon);
    for _ in 0..100 {
        if fired(port) != before {
            break;
        }
        hypercall::sched_op(SCHEDOP_block, &mut ());
    }
    check!(
        "events/timer",
        answer == 0 && fired(port) > before,
        "{answer} {}",
        fired(port)
    );
    // The port is masked to two-level selection; polling sees it though no upcall may come.
    set_mask(true);
    let ports = [port];
    let mut poll = sched_poll {
        ports: ports.as_ptr() as u64,
        nr_ports: 1,
        _pad: 0,
        timeout: 0,
    };
    soon.timeout_abs_ns = 1;
    hypercall::vcpu_op(VCPUOP_set_singleshot_timer, 0, &mut soon);
    let answer = hypercall::sched_op(SCHEDOP_poll, &mut poll);
    check!("events/poll", answer == 0, "{answer}");
    set_mask(false);
}

fn run_state() {
    let mut info = vcpu_runstate_info::default();
    let answer = hypercall::vcpu_op(VCPUOP_get_runstate_info, 0, &mut info);
    let running = info.state == RUNSTATE_running && info.time[RUNSTATE_running as usize] > 0;
    check!("events/runstate", answer == 0 && running, "{answer} {info:?}");
}

pub(crate) fn run() {
    ipi();
    timer();
    run_state();
}
