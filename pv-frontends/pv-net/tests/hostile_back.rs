//! Our frontend against backends that break the rules.

mod pair;
mod raw;

use std::sync::atomic::Ordering;

use pair::{FRONT, Pair, TheFront, drain};
use proptest::prelude::*;
use pv_hal::Memory;
use pv_net::{Interface, MAX_FRAME, Meta, SendError, Status, front};
use raw::RawBack;
use xen_abi::{
    NETIF_RSP_ERROR, NETIF_RSP_OKAY, NETRXF_extra_info, NETRXF_gso_prefix, NETRXF_more_data, netif_extra_info,
    netif_rx_response, netif_tx_response,
};

const PAGES: usize = 16;

fn connected() -> (Pair, TheFront, RawBack) {
    let pair = Pair::new();
    let mut back = RawBack::new(&pair, &[("feature-sg", "1".into()), ("feature-rx-copy", "1".into())]);
    let config = front::Config {
        send_pages: PAGES,
        receive_pages: PAGES,
        ..front::Config::default()
    };
    let mut front = pair.front(config);
    front.poll().expect("store");
    back.connect();
    assert_eq!(front.poll().expect("store"), Status::Up);
    (pair, front, back)
}

/// The frontend has given the device up and holds nothing any more.
fn assert_given_up(pair: &Pair, front: &mut TheFront, back: RawBack) {
    front.poll().expect("store");
    assert_eq!(front.try_send(&[0; 60], Meta::default()), Err(SendError::Down));
    assert!(back.has_gone(pair));
    assert!(
        pair.store
            .get("/local/domain/1/error/device/vif/0/error")
            .is_some_and(|why| !why.is_empty())
    );
    drop(back);
    pair.assert_clean();
}

fn response(id: u16, offset: u16, flags: u16, status: i16) -> [u8; 8] {
    zerocopy::transmute!(netif_rx_response {
        id,
        offset,
        flags,
        status
    })
}

#[test]
fn honest_answers_with_an_offset_and_several_pieces_arrive() {
    let (_pair, mut front, mut back) = connected();
    let first = back.take_page(&[7; 200]);
    let second = back.take_page(&[8; 100]);
    back.answer(response(first.id, 50, NETRXF_more_data, 150));
    back.answer(response(second.id, 0, 0, 100));
    back.flush();
    assert_eq!(
        drain(&mut front),
        [([vec![7; 150], vec![8; 100]].concat(), Meta::default())]
    );
}

#[test]
fn mistakes_cost_the_packet_and_no_more() {
    /// Identifier, offset, flags, status.
    type Answer = (u16, u16, u16, i16);
    let bad: [(&str, &[Answer]); 9] = [
        ("refused", &[(0, 0, 0, NETIF_RSP_ERROR)]),
        ("outside its page", &[(0, 4000, 0, 97)]),
        ("far outside", &[(0, 0xffff, 0, i16::MAX)]),
        ("empty", &[(0, 0, 0, 0)]),
        ("wrong slot", &[(5, 0, 0, 60)]),
        ("unfinished", &[(0, 0, NETRXF_more_data, 60)]),
        ("missing extra info", &[(0, 0, NETRXF_extra_info, 60)]),
        ("the old way of segments", &[(0, 0, NETRXF_gso_prefix, 60)]),
        ("bad second piece", &[(0, 0, NETRXF_more_data, 60), (1, 4090, 0, 60)]),
    ];
    for (name, answers) in bad {
        let (_pair, mut front, mut back) = connected();
        for &(id, offset, flags, status) in answers {
            back.take_page(&[1; 100]);
            back.answer(response(id, offset, flags, status));
        }
        back.flush();
        assert!(drain(&mut front).is_empty(), "{name}");
        assert_eq!(front.statistics().dropped, 1, "{name}");
        // All pages are requested again, and the next packet arrives.
        for value in 0..2 * PAGES as u8 {
            let request = back.take_page(&[value; 100]);
            back.answer(response(request.id, 0, 0, 100));
            back.flush();
            assert_eq!(drain(&mut front), [(vec![value; 100], Meta::default())], "after {name}");
        }
    }
}

#[test]
fn a_packet_of_more_pieces_than_promised_is_dropped() {
    let pair = Pair::new();
    let mut back = RawBack::new(&pair, &[("feature-sg", "1".into())]);
    let mut front = pair.front(front::Config::default());
    front.poll().expect("store");
    back.connect();
    front.poll().expect("store");
    for index in 0..40 {
        let request = back.take_page(&[1; 10]);
        back.answer(response(
            request.id,
            0,
            if index == 39 { 0 } else { NETRXF_more_data },
            10,
        ));
    }
    back.flush();
    assert!(drain(&mut front).is_empty());
    assert_eq!(front.statistics().dropped, 1);
}

#[test]
fn unknown_extra_infos_are_passed_over_with_their_packet() {
    let (_pair, mut front, mut back) = connected();
    let request = back.take_page(&[1; 100]);
    back.take_page(&[]);
    back.answer(response(request.id, 0, NETRXF_extra_info, 100));
    back.answer(zerocopy::transmute!(netif_extra_info {
        r#type: 77,
        flags: 0,
        u: [0; 6]
    }));
    let request = back.take_page(&[2; 60]);
    back.answer(response(request.id, 0, 0, 60));
    back.flush();
    assert_eq!(drain(&mut front), [(vec![2; 60], Meta::default())]);
}

#[test]
fn answers_to_what_was_not_sent_change_nothing() {
    let (_pair, mut front, mut back) = connected();
    front.try_send(&[1; 60], Meta::default()).expect("room");
    front.try_send(&[2; 60], Meta::default()).expect("room");
    front.flush();
    let transmit = back.transmit.as_mut().unwrap();
    let ids: Vec<u16> = (0..2)
        .map(|_| u16::from_le_bytes(transmit.pop().unwrap().unwrap()[8..10].try_into().unwrap()))
        .collect();
    // The first answer comes twice, the second never: a page too many would be free.
    for id in [ids[0], ids[0]] {
        transmit.push(&netif_tx_response {
            id,
            status: NETIF_RSP_OKAY,
        });
    }
    back.flush();
    let mut sent = 0;
    while front.try_send(&[3; 60], Meta::default()).is_ok() {
        sent += 1;
    }
    assert_eq!(sent, PAGES - 1, "one page is never answered for");
    assert_eq!(front.statistics().send_errors, 1);
}

#[test]
fn indexes_that_make_no_sense_end_the_device() {
    let (pair, mut front, back) = connected();
    back.receive
        .as_ref()
        .unwrap()
        .memory()
        .store_u32(8, PAGES as u32 + 1, Ordering::SeqCst);
    assert!(drain(&mut front).is_empty());
    assert_given_up(&pair, &mut front, back);

    let (pair, mut front, back) = connected();
    back.transmit
        .as_ref()
        .unwrap()
        .memory()
        .store_u32(8, 1, Ordering::SeqCst);
    while front.try_send(&[0; 60], Meta::default()).is_ok() {}
    assert_given_up(&pair, &mut front, back);

    let (pair, mut front, back) = connected();
    back.transmit
        .as_ref()
        .unwrap()
        .memory()
        .store_u32(8, 0x8000_0000, Ordering::SeqCst);
    front.wait(true, None);
    assert_given_up(&pair, &mut front, back);
}

#[test]
fn a_page_that_changes_after_it_was_answered_for_is_read_once() {
    let (_pair, mut front, mut back) = connected();
    let request = back.take_page(&[1; 100]);
    back.answer(response(request.id, 0, 0, 100));
    back.flush();
    let mut buffer = [0; 200];
    assert_eq!(front.try_receive(&mut buffer).map(|received| received.len), Some(100));
    let copy = buffer;
    assert!(front.try_receive(&mut buffer).is_none());
    assert_eq!(buffer, copy);
}

#[test]
fn a_backend_without_a_feature_is_not_sent_what_it_would_need() {
    let pair = Pair::new();
    let mut back = RawBack::new(&pair, &[("feature-no-csum-offload", "1".into())]);
    let mut front = pair.front(front::Config::default());
    front.poll().expect("store");
    assert_eq!(pair.store.get(&format!("{FRONT}/multi-queue-num-queues")), None);
    assert_eq!(pair.store.get(&format!("{FRONT}/event-channel-tx")), None);
    back.connect();
    front.poll().expect("store");
    let features = front.peer_features();
    assert!(!features.scatter_gather && !features.blank_v4 && !features.gso_v4);
    assert_eq!(front.try_send(&[0; 5000], Meta::default()), Err(SendError::BadLength));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_slot_makes_the_frontend_panic_or_lose_pages(slots in prop::collection::vec((any::<[u8; 8]>(), any::<bool>()), 1..PAGES)) {
        let (pair, mut front, mut back) = connected();
        for (bytes, is_plausible) in slots {
            let request = back.take_page(&[5; 64]);
            let mut answer: netif_rx_response = zerocopy::transmute!(bytes);
            if is_plausible {
                (answer.id, answer.offset, answer.status) = (request.id, answer.offset % 64, answer.status % 4096);
            }
            back.answer(zerocopy::transmute!(answer));
        }
        back.flush();
        for (frame, _) in drain(&mut front) {
            prop_assert!((1..=MAX_FRAME).contains(&frame.len()));
        }
        let requests = back.receive.as_mut().unwrap().pending().expect("an honest frontend");
        prop_assert_eq!(requests as usize, PAGES);
        drop(front);
        drop(back);
        pair.assert_clean();
    }
}
