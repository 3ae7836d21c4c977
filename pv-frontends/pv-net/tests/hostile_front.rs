//! Our backend against frontends that break the rules.

mod pair;
mod raw;

use std::sync::atomic::Ordering;

use pair::{BACK, Pair, TheBack, drain};
use proptest::prelude::*;
use pv_hal::Memory;
use pv_net::{Interface, MAX_FRAME, Meta, SendError, Status, back};
use raw::RawFront;
use xen_abi::{
    NETIF_RSP_ERROR, NETIF_RSP_NULL, NETIF_RSP_OKAY, NETTXF_extra_info, NETTXF_more_data, XEN_NETIF_EXTRA_TYPE_GSO,
    XEN_NETIF_EXTRA_TYPE_MCAST_ADD, netif_extra_info, netif_rx_request, netif_tx_request,
};

fn connected() -> (Pair, RawFront, TheBack) {
    let pair = Pair::new();
    let mut back = pair.back(back::Config::default());
    back.poll().expect("store");
    let mut front = RawFront::new(&pair);
    let keys = front.keys();
    front.publish(&keys);
    assert_eq!(back.poll().expect("store"), Status::Up);
    (pair, front, back)
}

fn error_node(pair: &Pair) -> Option<String> {
    let path = BACK.strip_prefix("/local/domain/2/").unwrap();
    pair.store.get(&format!("/local/domain/2/error/{path}/error"))
}

/// The backend has given the frontend up, has said why, and holds nothing of it.
fn assert_given_up(pair: &Pair, back: &mut TheBack) {
    assert_eq!(back.poll().expect("store"), Status::Connecting);
    assert!(error_node(pair).is_some_and(|why| !why.is_empty()), "no word of why");
    assert_eq!(pair.store.get(&format!("{BACK}/state")).as_deref(), Some("5"));
    assert_eq!(pair.machine.grants_mapped(pair.driver.id()), 0);
    assert_eq!(pair.machine.ports_in_use(pair.driver.id()), 0);
    assert_eq!(back.try_send(&[0; 60], Meta::default()), Err(SendError::Down));
}

fn extra(kind: u8, flags: u8, u: [u8; 6]) -> netif_extra_info {
    netif_extra_info { r#type: kind, flags, u }
}

#[test]
fn an_honest_packet_in_many_pieces_arrives() {
    let (_pair, mut front, mut back) = connected();
    for page in 0..19 {
        front.fill(page, page as u8 + 1);
    }
    // Nineteen pieces, the first of 100 bytes, the others of 10: the first counts the whole.
    front.send(&front.request(0, 3996, 280, NETTXF_more_data));
    for page in 1..19 {
        let more = if page == 18 { 0 } else { NETTXF_more_data };
        front.send(&front.request(page, 4086, 10, more));
    }
    front.flush();
    let expected: Vec<u8> = (0..19u8)
        .flat_map(|page| vec![page + 1; if page == 0 { 100 } else { 10 }])
        .collect();
    assert_eq!(drain(&mut back), [(expected, Meta::default())]);
    assert!(front.answers().iter().all(|&(_, status)| status == NETIF_RSP_OKAY));
}

#[test]
fn mistakes_cost_the_packet_and_no_more() {
    let (_pair, mut front, mut back) = connected();
    let mut wrong_grant = front.request(0, 0, 60, 0);
    wrong_grant.gref = 0xffff_fff0;
    let too_short = front.request(1, 0, 13, 0);
    // The second piece is larger than the whole packet.
    let mismatch = [front.request(2, 0, 100, NETTXF_more_data), front.request(3, 0, 200, 0)];
    front.send(&wrong_grant);
    front.send(&too_short);
    mismatch.iter().for_each(|request| front.send(request));
    // Twenty requests: more than anybody takes, not yet an attack.
    for page in 0..20 {
        let more = if page == 19 { 0 } else { NETTXF_more_data };
        front.send(&front.request(page, 0, 1000, more));
    }
    front.fill(23, 9);
    front.send(&front.request(23, 0, 60, 0));
    front.flush();
    assert_eq!(drain(&mut back), [(vec![9; 60], Meta::default())]);
    let answers = front.answers();
    assert_eq!(answers.len(), 25);
    let okay: Vec<_> = answers.iter().filter(|(_, status)| *status == NETIF_RSP_OKAY).collect();
    assert_eq!(okay, [&(23, NETIF_RSP_OKAY)]);
    assert_eq!(back.statistics().dropped, 4);
    assert_eq!(back.poll().expect("store"), Status::Up);
}

#[test]
fn a_piece_with_a_bad_grant_fails_its_whole_packet() {
    let (_pair, mut front, mut back) = connected();
    front.send(&front.request(0, 0, 200, NETTXF_more_data));
    let mut bad = front.request(1, 0, 100, 0);
    bad.gref = 0x00ff_0000;
    front.send(&bad);
    front.flush();
    assert!(drain(&mut back).is_empty());
    assert_eq!(front.answers(), [(0, NETIF_RSP_ERROR), (1, NETIF_RSP_ERROR)]);
}

#[test]
fn a_change_to_the_multicast_list_is_refused_politely() {
    let (_pair, mut front, mut back) = connected();
    front.send(&front.request(0, 0, 60, NETTXF_extra_info));
    front.send(&extra(XEN_NETIF_EXTRA_TYPE_MCAST_ADD, 0, [1, 0, 0x5e, 0, 0, 1]));
    front.flush();
    assert!(drain(&mut back).is_empty());
    let answers = front.answers();
    assert_eq!((answers[0], answers[1].1), ((0, NETIF_RSP_ERROR), NETIF_RSP_NULL));
}

#[test]
fn rings_that_make_no_sense_end_the_device() {
    type Attack = fn(&mut RawFront);
    let attacks: [(&str, Attack); 8] = [
        ("unfinished packet", |front| {
            front.send(&front.request(0, 0, 100, NETTXF_more_data))
        }),
        ("missing extra info", |front| {
            front.send(&front.request(0, 0, 100, NETTXF_extra_info))
        }),
        ("piece outside its page", |front| {
            front.send(&front.request(0, 4000, 97, 0))
        }),
        ("later piece outside its page", |front| {
            front.send(&front.request(0, 0, 300, NETTXF_more_data));
            front.send(&front.request(1, 4095, 2, 0));
        }),
        ("unknown extra info", |front| {
            front.send(&front.request(0, 0, 100, NETTXF_extra_info));
            front.send(&extra(7, 0, [0; 6]));
        }),
        ("segments of no bytes", |front| {
            front.send(&front.request(0, 0, 100, NETTXF_extra_info));
            front.send(&extra(XEN_NETIF_EXTRA_TYPE_GSO, 0, [0, 0, 1, 0, 0, 0]));
        }),
        ("endless packet", |front| {
            for page in 0..200 {
                front.send(&front.request(page % 24, 0, 10, NETTXF_more_data));
            }
        }),
        ("more requests than slots", |front| {
            let produced = front.transmit.slot_count() + 1;
            front.flush();
            front.transmit.memory().store_u32(0, produced, Ordering::SeqCst);
        }),
    ];
    for (name, attack) in attacks {
        let (pair, mut front, mut back) = connected();
        // An honest packet before the attack arrives all the same.
        front.fill(5, 5);
        front.send(&front.request(5, 0, 60, 0));
        attack(&mut front);
        front.flush();
        let frames = drain(&mut back);
        // Indexes that lie say nothing of what was honest.
        let honest = if name == "more requests than slots" { 0 } else { 1 };
        assert_eq!(frames.len(), honest, "{name}");
        assert_given_up(&pair, &mut back);
        drop(front);
        pair.assert_clean();
    }
}

#[test]
fn receive_requests_that_make_no_sense_end_the_device_or_cost_the_packet() {
    let (pair, front, mut back) = connected();
    front.receive.memory().store_u32(0, 0x8000_0000, Ordering::SeqCst);
    assert_eq!(back.try_send(&[1; 60], Meta::default()), Err(SendError::Down));
    assert_given_up(&pair, &mut back);

    let (_pair, mut front, mut back) = connected();
    for (id, gref) in [(0, 0xffff_ffff), (1, front.pages.grants()[0].0)] {
        front
            .receive
            .push(&netif_rx_request { id, pad: 0, gref })
            .expect("room");
    }
    front.flush();
    for value in [1, 2] {
        back.try_send(&[value; 60], Meta::default()).expect("two requests");
    }
    back.flush();
    let mut statuses = Vec::new();
    while let Some(slot) = front.receive.pop().expect("an honest backend") {
        statuses.push(i16::from_le_bytes([slot[6], slot[7]]));
    }
    assert_eq!(statuses, [NETIF_RSP_ERROR, 60]);
    assert_eq!(
        (back.statistics().send_errors, back.poll().expect("store")),
        (1, Status::Up)
    );
}

#[test]
fn keys_that_make_no_sense_are_told_and_a_better_frontend_is_served() {
    let bad: [&[(&str, &str)]; 8] = [
        &[("tx-ring-ref", "4000000")],
        &[("tx-ring-ref", "nonsense")],
        &[("rx-ring-ref", "-1")],
        &[("event-channel", "99999")],
        &[("event-channel", "")],
        &[("request-rx-copy", "0")],
        &[("multi-queue-num-queues", "0")],
        &[("multi-queue-num-queues", "5000000")],
    ];
    for wrong in bad {
        let pair = Pair::new();
        let mut back = pair.back(back::Config::default());
        back.poll().expect("store");
        let mut front = RawFront::new(&pair);
        let mut keys = front.keys();
        keys.retain(|(key, _)| !wrong.iter().any(|(name, _)| name == key));
        keys.extend(wrong.iter().map(|&(key, value)| (key, value.to_string())));
        front.publish(&keys);
        assert_ne!(back.poll().expect("only this device fails"), Status::Up, "{wrong:?}");
        assert_given_up(&pair, &mut back);
        drop(front);
        pair.assert_clean();
        // The device is there for a frontend that begins anew.
        pair.store.set(&format!("{}/state", pair::FRONT), "6");
        back.poll().expect("store");
        pair.store.set(&format!("{}/state", pair::FRONT), "1");
        pair.store.remove(&format!("{}/multi-queue-num-queues", pair::FRONT));
        let mut front = pair.front(pv_net::front::Config::default());
        pair::connect(&mut front, &mut back);
    }
}

#[test]
fn a_control_ring_that_was_not_offered_is_answered() {
    let pair = Pair::new();
    let mut back = pair.back(back::Config::default());
    back.poll().expect("store");
    let mut front = RawFront::new(&pair);
    let ring = pv_hal::SharedPages::new(&pair.guest, pair.driver.id(), 1, pv_hal::Access::ReadWrite).expect("a page");
    let channel = pv_hal::Channel::offer(&pair.guest, pair.driver.id()).expect("a port");
    let mut keys = front.keys();
    keys.push(("ctrl-ring-ref", ring.grants()[0].to_string()));
    keys.push(("event-channel-ctrl", channel.port().to_string()));
    let mut control = pv_ring::Front::<_, xen_abi::xen_netif_ctrl_request, xen_abi::xen_netif_ctrl_response>::new(ring);
    front.publish(&keys);
    assert_eq!(back.poll().expect("store"), Status::Up);
    for id in 0..5 {
        let request = xen_abi::xen_netif_ctrl_request {
            id,
            r#type: xen_abi::XEN_NETIF_CTRL_TYPE_SET_HASH_KEY,
            data: [1, 2, 3],
        };
        control.push(&request).expect("room");
    }
    let _ = control.publish();
    back.arm(false);
    for id in 0..5 {
        let answer = control.pop().expect("an honest backend").expect("an answer");
        assert_eq!(
            (answer.id, answer.status),
            (id, xen_abi::XEN_NETIF_CTRL_STATUS_NOT_SUPPORTED)
        );
    }
    control.memory().store_u32(0, 1 << 20, Ordering::SeqCst);
    back.arm(false);
    assert_given_up(&pair, &mut back);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Slots of any content: whatever comes of them, each taken slot is answered at most once, frames are of a possible
    /// size, and nothing is left when the frontend is gone.
    #[test]
    fn no_slot_makes_the_backend_panic_or_leak(
        slots in prop::collection::vec((any::<[u8; 12]>(), 0u16..64, 0usize..24, any::<bool>()), 1..250),
    ) {
        let (pair, mut front, mut back) = connected();
        let count = slots.len();
        for (bytes, flags, page, is_plausible) in slots {
            let mut request: netif_tx_request = zerocopy::transmute!(bytes);
            if is_plausible {
                // Near enough to an honest request to get further than the first check.
                request.gref = front.pages.grants()[page].0;
                (request.offset, request.size, request.flags) = (request.offset % 2048, request.size % 2048, flags & 0xf);
            }
            front.send(&request);
        }
        front.flush();
        for (frame, _) in drain(&mut back) {
            prop_assert!((14..=MAX_FRAME).contains(&frame.len()));
        }
        let mut answered = 0;
        while front.transmit.pop().expect("an honest backend").is_some() {
            answered += 1;
        }
        prop_assert!(answered <= count);
        drop(back);
        drop(front);
        pair.assert_clean();
    }
}
