//! Ports connected to each other, and the ways they end.
use crate::table::own;
use guest_rt::events::{fired, unmask_port};
use guest_rt::{check, hypercall};
use xen_abi::*;

pub(crate) fn alloc(dom: domid_t, remote: domid_t) -> (i64, u32) {
    let mut op = evtchn_alloc_unbound {
        dom,
        remote_dom: remote,
        port: 0,
    };
    (hypercall::event_channel_op(EVTCHNOP_alloc_unbound, &mut op), op.port)
}

pub(crate) fn connect(remote: domid_t, port: u32) -> (i64, u32) {
    let mut op = evtchn_bind_interdomain {
        remote_dom: remote,
        remote_port: port,
        ..Default::default()
    };
    (
        hypercall::event_channel_op(EVTCHNOP_bind_interdomain, &mut op),
        op.local_port,
    )
}

pub(crate) fn close(port: u32) -> i64 {
    hypercall::event_channel_op(EVTCHNOP_close, &mut evtchn_close { port })
}

pub(crate) fn send(port: u32) -> i64 {
    hypercall::event_channel_op(EVTCHNOP_send, &mut evtchn_send { port })
}

/// What a port is: state and the two words of its union.
pub(crate) fn status(port: u32) -> (u32, u32, u32) {
    let mut op = evtchn_status {
        dom: DOMID_SELF,
        port,
        ..Default::default()
    };
    let answer = hypercall::event_channel_op(EVTCHNOP_status, &mut op);
    assert!(answer == 0, "status of {port} answers {answer}");
    (op.status, op.u0 & 0xffff, op.u1)
}

fn connection() {
    let (answer, near) = alloc(DOMID_SELF, DOMID_SELF);
    check!("channels/alloc", answer == 0 && near != 0, "{answer} {near}");
    check!(
        "channels/unbound",
        status(near) == (EVTCHNSTAT_unbound, own().into(), status(near).2),
        "{:?}",
        status(near)
    );
    check!("channels/send-unbound", send(near) == 0, "");
    let (answer, far) = connect(own(), near);
    check!("channels/connect", answer == 0 && far != near, "{answer} {far}");
    check!(
        "channels/near",
        status(near) == (EVTCHNSTAT_interdomain, own().into(), far),
        "{:?}",
        status(near)
    );
    check!(
        "channels/far",
        status(far) == (EVTCHNSTAT_interdomain, own().into(), near),
        "{:?}",
        status(far)
    );
    // A new connection is announced once, since what was sent before it is lost.
    let before = [fired(near), fired(far)];
    unmask_port(near);
    unmask_port(far);
    check!("channels/announced", fired(far) <= before[1] + 1, "{}", fired(far));
    let before = [fired(near), fired(far)];
    check!(
        "channels/send",
        send(near) == 0 && fired(far) == before[1] + 1,
        "{}",
        fired(far)
    );
    check!(
        "channels/send-back",
        send(far) == 0 && fired(near) == before[0] + 1,
        "{}",
        fired(near)
    );
    let (again, _) = connect(own(), near);
    check!("channels/connect-twice", again < 0, "{again}");
    check!("channels/close", close(far) == 0, "");
    check!(
        "channels/waits-anew",
        status(near).0 == EVTCHNSTAT_unbound,
        "{:?}",
        status(near)
    );
    check!("channels/send-after", send(near) == 0 && send(far) < 0, "");
    let (answer, third) = connect(own(), near);
    check!(
        "channels/rebind",
        answer == 0 && status(near).2 == third,
        "{answer} {third}"
    );
    check!(
        "channels/close-near",
        close(near) == 0 && status(third).0 == EVTCHNSTAT_unbound,
        ""
    );
    check!("channels/close-last", close(third) == 0 && close(third) < 0, "");
    check!(
        "channels/closed",
        status(near).0 == EVTCHNSTAT_closed,
        "{:?}",
        status(near)
    );
}

/// The lowest free port is given out.
fn reuse() {
    let ports = [(); 3].map(|()| alloc(DOMID_SELF, DOMID_SELF).1);
    close(ports[1]);
    close(ports[0]);
    let first = alloc(DOMID_SELF, DOMID_SELF).1;
    let second = alloc(DOMID_SELF, DOMID_SELF).1;
    check!(
        "channels/lowest",
        first == ports[0] && second == ports[1],
        "{first} {second} of {ports:?}"
    );
    ports.iter().for_each(|port| assert!(close(*port) == 0));
}

/// All of them, and one more.
fn exhaust() {
    // By port: is it of this test? The toolstack may have made others.
    let mut made = [0u64; EVTCHN_2L_NR_CHANNELS as usize / 64];
    let (mut last, mut count) = (0, 0);
    let answer = loop {
        let (answer, port) = alloc(DOMID_SELF, DOMID_SELF);
        if answer != 0 {
            break answer;
        }
        made[port as usize / 64 % made.len()] |= 1 << (port % 64);
        (last, count) = (port, count + 1);
    };
    check!("channels/none-left", answer == -i64::from(Errno::ENOSPC.0), "{answer}");
    // Dom0 has all of the layout; the toolstack gives other domains fewer.
    let limits = [EVTCHN_2L_NR_CHANNELS - 1, 1023];
    check!("channels/last", limits.contains(&last), "{last}");
    let is_mine = |port: &u32| made[*port as usize / 64 % made.len()] & 1 << (port % 64) != 0;
    let closed = (1..=last).filter(is_mine).filter(|port| close(*port) == 0).count();
    check!("channels/all-back", closed == count, "{closed} of {count}");
    check!("channels/again", close(alloc(DOMID_SELF, DOMID_SELF).1) == 0, "");
}

pub(crate) fn run() {
    connection();
    reuse();
    exhaust();
}
