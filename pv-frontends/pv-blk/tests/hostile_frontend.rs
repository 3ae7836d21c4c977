//! The backend's order of things under barriers, and a frontend that breaks its ring beside one that behaves.

mod support;

use core::sync::atomic::Ordering;

use pv_blk::back::Options as Offer;
use pv_hal::fake::Domain;
use pv_hal::{Access, Channel, Memory, SharedPages};
use pv_ring::Front;
use pv_xenbus::frontend::{Frontend, Step};
use pv_xenbus::{State, fake::LocalClient};
use support::Bed;
use xen_abi::{blkif_request, blkif_response};

/// A frontend that sends what it is told to.
struct Raw {
    bus: Frontend<LocalClient>,
    ring: Front<SharedPages<Domain>, blkif_request, blkif_response>,
    channel: Channel<Domain>,
    data: SharedPages<Domain>,
}

impl Raw {
    fn open(bed: &Bed) -> Raw {
        let mut bus = Frontend::new(bed.store.client(&bed.front), support::FRONT_PATH).unwrap();
        let peer = bed.back.id();
        let ring = SharedPages::new(&bed.front, peer, 1, Access::ReadWrite).unwrap();
        let channel = Channel::offer(&bed.front, peer).unwrap();
        let gref = ring.grants()[0].to_string();
        while bus.poll().unwrap() != Step::Publish {
            bed.machine.run_round();
        }
        let nodes = [("ring-ref", gref), ("event-channel", channel.port().to_string())];
        bus.publish(&nodes, State::Initialised).unwrap();
        while bus.poll().unwrap() != Step::Start {
            bed.machine.run_round();
        }
        bus.start().unwrap();
        Raw {
            bus,
            ring: Front::with_slot_size(ring, size_of::<blkif_request>()),
            channel,
            data: SharedPages::new(&bed.front, peer, 1, Access::ReadWrite).unwrap(),
        }
    }

    fn send(&mut self, id: u64, operation: u8) {
        let mut request = blkif_request {
            operation,
            nr_segments: 1,
            id,
            sector_number: id,
            ..Default::default()
        };
        request.seg[0].gref = self.data.grants()[0].0;
        self.ring.push(&request).unwrap();
    }

    /// Ids in the order of their answers.
    fn receive(&mut self, bed: &Bed) -> Vec<u64> {
        let _ = self.ring.publish();
        self.channel.notify();
        bed.machine.settle(200);
        let mut ids = Vec::new();
        while let Some(response) = self.ring.pop().unwrap() {
            assert_eq!(response.status, 0, "{response:?}");
            ids.push(response.id);
        }
        ids
    }
}

#[test]
fn nothing_overtakes_a_barrier_and_the_disk_is_flushed_around_it() {
    for room in [0, 1, 2] {
        let bed = Bed::new(64, Offer::default());
        (bed.mood.borrow_mut().reverses, bed.mood.borrow_mut().room) = (true, room);
        let mut raw = Raw::open(&bed);
        for (id, operation) in [(1, 1), (2, 0), (3, 1), (4, 2), (5, 0), (6, 1), (7, 2), (8, 2), (9, 1)] {
            raw.send(id, operation);
        }
        let ids = raw.receive(&bed);
        let at = |id: u64| ids.iter().position(|other| *other == id).expect("a request is lost");
        for (barrier, before, after) in [(4, 1..4, 5..10), (7, 1..7, 8..10), (8, 1..8, 9..10)] {
            assert!(before.clone().all(|id| at(id) < at(barrier)), "{room} {ids:?}");
            assert!(after.clone().all(|id| at(id) > at(barrier)), "{room} {ids:?}");
        }
        let log = bed.log.borrow().join(" ");
        let barriers = "flush write flush";
        assert_eq!(log.matches(barriers).count(), 3, "{log}");
        assert!(log.ends_with(&format!("{barriers} {barriers} write")), "{log}");
    }
}

#[test]
fn a_barrier_that_fails_lets_others_go_on() {
    let bed = Bed::new(64, Offer::default());
    let mut raw = Raw::open(&bed);
    raw.send(1, 1);
    let mut beyond = blkif_request {
        operation: 2,
        nr_segments: 1,
        id: 2,
        sector_number: 64,
        ..Default::default()
    };
    beyond.seg[0].gref = raw.data.grants()[0].0;
    raw.ring.push(&beyond).unwrap();
    let mut bad_page = beyond;
    (bad_page.id, bad_page.sector_number, bad_page.seg[0].gref) = (3, 0, u32::MAX);
    raw.ring.push(&bad_page).unwrap();
    raw.send(4, 1);
    let _ = raw.ring.publish();
    raw.channel.notify();
    bed.machine.settle(200);
    let mut answers = Vec::new();
    while let Some(response) = raw.ring.pop().unwrap() {
        answers.push((response.id, response.status));
    }
    answers.sort_unstable();
    assert_eq!(answers, [(1, 0), (2, -1), (3, -1), (4, 0)]);
}

#[test]
fn a_broken_ring_is_closed_with_a_word_to_the_toolstack() {
    for ahead in [33, 0x8000_0000, u32::MAX] {
        let bed = Bed::new(64, Offer::default());
        let mut raw = Raw::open(&bed);
        raw.send(1, 0);
        assert_eq!(raw.receive(&bed), [1]);
        raw.ring
            .memory()
            .store_u32(0, 1u32.wrapping_add(ahead), Ordering::SeqCst);
        raw.channel.notify();
        bed.machine.settle(50);
        assert_eq!(bed.back_node("state").as_deref(), Some("5"));
        let path = format!("/local/domain/2/error/{}/error", support::BACK_PATH);
        assert!(bed.store.get(&path).unwrap().contains("ring"));
        assert_eq!(bed.machine.grants_mapped(bed.back.id()), 0);
        // It may begin anew.
        raw.bus.release();
        drop(raw);
        let mut raw = Raw::open(&bed);
        raw.send(1, 0);
        assert_eq!(raw.receive(&bed), [1]);
    }
}

#[test]
fn a_flood_of_bad_requests_is_answered_in_bounded_turns() {
    let bed = Bed::new(64, Offer::default());
    let mut raw = Raw::open(&bed);
    // Bad ones first, so that a backend which skips over them in one go would take all.
    let bad = blkif_request {
        operation: 200,
        ..Default::default()
    };
    for round in 1..20u32 {
        while raw.ring.push(&bad).is_ok() {}
        let _ = raw.ring.publish();
        raw.channel.notify();
        bed.machine.settle(50);
        let mut answered = 0;
        while let Some(response) = raw.ring.pop().unwrap() {
            assert_eq!(response.status, -2);
            answered += 1;
        }
        assert_eq!(answered, 32, "round {round}");
    }
}

#[test]
fn pages_beyond_those_kept_are_mapped_again() {
    let bed = Bed::new(64, Offer::default());
    let mut disk = bed.connected(pv_blk::front::Options::default());
    let mut buffers = Vec::new();
    for _ in 0..1400 {
        let buffer = disk.device().buffer(1).unwrap();
        disk.device().read(3, 1, buffer).unwrap();
        disk.device().publish();
        let completion = disk.wait(None).unwrap().unwrap();
        assert_eq!(completion.result, Ok(()));
        buffers.push(completion.buffer.unwrap());
        assert!(bed.machine.grants_mapped(bed.back.id()) <= 1056 + 4);
    }
    // Even those that were let go of.
    let buffer = buffers.swap_remove(0);
    disk.device().read(3, 1, buffer).unwrap();
    disk.device().publish();
    assert_eq!(disk.wait(None).unwrap().unwrap().result, Ok(()));
    drop(buffers);
    disk.close(None).unwrap();
    drop(disk);
    bed.expect_nothing_left();
}
