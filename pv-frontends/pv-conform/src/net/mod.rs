//! Network devices: `io/netif.h`. Beyond the backend somebody at 10.0.0.1 must answer ARP, pings and connections.

mod connections;
mod frames;
mod raw;
mod traffic;

use alloc::vec::Vec;

use pv_hal::Hal;
use pv_xenbus::Store;

use crate::{Bench, Case, Outcome};

type Row<H, S> = (&'static str, &'static str, fn(&Bench<H, S>) -> Outcome);

/// All cases for network devices.
pub fn cases<H: Hal, S: Store>() -> Vec<Case<H, S>> {
    let all = connections::<H, S>().into_iter().chain(traffic()).chain(attacks());
    let case = |(name, expects, run)| Case {
        name,
        header: "io/netif.h",
        expects,
        run,
    };
    all.map(case).collect()
}

fn connections<H: Hal, S: Store>() -> Vec<Row<H, S>> {
    use connections as c;
    Vec::from([
        ("net/offers", "packets are copied; features are 0 or 1", c::offers as _),
        (
            "net/connects",
            "a frontend of one queue and one event channel is served",
            c::connects as _,
        ),
        (
            "net/split-event-channels",
            "both directions may have their own event channel",
            c::split_channels as _,
        ),
        ("net/several-queues", "every queue is served", c::several_queues as _),
        (
            "net/too-many-queues",
            "more queues than offered are refused",
            c::too_many_queues as _,
        ),
        ("net/no-queues", "a frontend of no queue is refused", c::no_queues as _),
        (
            "net/bad-ring",
            "a ring that is not granted is refused",
            c::bad_ring as _,
        ),
        (
            "net/bad-event-channel",
            "a port that is none is refused",
            c::bad_port as _,
        ),
        (
            "net/reconnects",
            "a closed frontend may connect again and again",
            c::reconnects as _,
        ),
        ("net/lets-go", "a closed backend holds no page", c::lets_go as _),
        (
            "net/closes-in-mid-request",
            "a frontend may close with requests under way",
            c::closes_in_mid_request as _,
        ),
        (
            "net/resumes",
            "a frontend that begins anew without closing is served",
            c::resumes as _,
        ),
        (
            "net/our-frontend-plain",
            "pv-net without any feature is served",
            c::front_plain as _,
        ),
        (
            "net/our-frontend-full",
            "pv-net with every feature is served",
            c::front_full as _,
        ),
    ])
}

fn traffic<H: Hal, S: Store>() -> Vec<Row<H, S>> {
    use traffic as t;
    Vec::from([
        (
            "net/answers-echo-identifiers",
            "an answer has its request's identifier",
            t::answers_echo as _,
        ),
        (
            "net/one-piece",
            "a packet of one request arrives whole",
            t::one_piece as _,
        ),
        ("net/three-pieces", "so does one of three", t::three_pieces as _),
        (
            "net/eighteen-pieces",
            "and one of as many as any backend takes",
            t::eighteen_pieces as _,
        ),
        (
            "net/blank-checksum",
            "a checksum of the pseudo-header alone is completed",
            t::blank_checksum as _,
        ),
        (
            "net/extra-info",
            "the slot of an extra info is answered by NULL",
            t::extra_info as _,
        ),
        (
            "net/bad-grant",
            "a bad grant is an error of its packet",
            t::bad_grant as _,
        ),
        (
            "net/too-short",
            "a packet without an Ethernet header is an error",
            t::too_short as _,
        ),
        (
            "net/bad-receive-grant",
            "a bad page for receiving costs a packet and no more",
            t::bad_receive_grant as _,
        ),
        (
            "net/round-the-ring",
            "indexes run past the ring's end",
            t::round_the_ring as _,
        ),
        (
            "net/full-ring",
            "a ring full of requests is answered",
            t::full_ring as _,
        ),
    ])
}

fn attacks<H: Hal, S: Store>() -> Vec<Row<H, S>> {
    use connections as c;
    Vec::from([
        (
            "net/unplug-under-load",
            "a device may be unplugged with requests under way",
            c::unplugs_under_load as _,
        ),
        (
            "net/backend-death",
            "a new backend offers the device again",
            c::backend_dies as _,
        ),
        (
            "net/transmit-overflow",
            "more requests than slots cost the device alone",
            c::survives_overflow as _,
        ),
        (
            "net/receive-overflow",
            "so do more pages than slots",
            c::survives_receive_overflow as _,
        ),
        (
            "net/unfinished-packet",
            "and a packet that does not end",
            c::survives_unfinished_packet as _,
        ),
        (
            "net/page-crossing",
            "and a piece outside its page",
            c::survives_page_crossing as _,
        ),
        (
            "net/bad-extra-info",
            "and an unknown extra info",
            c::survives_bad_extra as _,
        ),
    ])
}
