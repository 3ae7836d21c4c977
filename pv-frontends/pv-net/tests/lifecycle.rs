//! Connecting, closing, losing and finding each other again.

mod pair;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use pair::{BACK, FRONT, Pair, connect, connected, drain, frame, settle};
use pv_hal::fake::Kind;
use pv_hal::{Error as HalError, Hal};
use pv_net::{Error, Interface, MAX_FRAME, Meta, SendError, Status, back, front};

fn assert_works(front: &mut pair::TheFront, back: &mut pair::TheBack) {
    front.try_send(&frame(2000, 1), Meta::default()).expect("room");
    front.flush();
    assert_eq!(drain(back), [(frame(2000, 1), Meta::default())]);
    back.try_send(&frame(9000, 2), Meta::default()).expect("room");
    back.flush();
    assert_eq!(drain(front), [(frame(9000, 2), Meta::default())]);
}

#[test]
fn either_end_may_come_first() {
    let pair = Pair::new();
    let mut front = pair.front(front::Config::default());
    for _ in 0..3 {
        assert_eq!(front.poll().expect("store"), Status::Connecting);
    }
    let mut back = pair.back(back::Config::default());
    connect(&mut front, &mut back);
    assert_works(&mut front, &mut back);

    let pair = Pair::new();
    let mut back = pair.back(back::Config::default());
    for _ in 0..3 {
        assert_eq!(back.poll().expect("store"), Status::Connecting);
    }
    let mut front = pair.front(front::Config::default());
    connect(&mut front, &mut back);
    assert_works(&mut front, &mut back);
}

#[test]
fn a_frontend_that_closes_leaves_nothing_and_may_open_again() {
    let (pair, mut front, mut back) = connected(front::Config::default(), back::Config::default());
    for _ in 0..3 {
        assert_works(&mut front, &mut back);
        // Frames are under way in both directions when it closes.
        front.try_send(&frame(100, 3), Meta::default()).expect("room");
        back.try_send(&frame(100, 4), Meta::default()).expect("room");
        front.close();
        assert_eq!(settle(&mut front, &mut back).0, Status::Closed);
        assert_eq!(front.try_send(&[0; 60], Meta::default()), Err(SendError::Down));
        assert_eq!(back.try_send(&[0; 60], Meta::default()), Err(SendError::Down));
        pair.assert_clean();
        front.open();
        connect(&mut front, &mut back);
    }
    assert_works(&mut front, &mut back);
}

#[test]
fn a_device_that_is_unplugged_closes_both_ends() {
    let (pair, mut front, mut back) = connected(front::Config::default(), back::Config::default());
    front.try_send(&frame(100, 3), Meta::default()).expect("room");
    pair.store.unplug("backend/vif/1/0", &pair.driver);
    assert_eq!(settle(&mut front, &mut back), (Status::Closed, Status::Closed));
    pair.assert_clean();
    assert_eq!(front.receive(&mut [0; 100], None), Err(Error::Down));
    assert_eq!(front.send(&[0; 60], Meta::default()), Err(Error::Down));
}

#[test]
fn a_backend_that_dies_is_replaced() {
    let (pair, mut front, mut back) = connected(front::Config::default(), back::Config::default());
    assert_works(&mut front, &mut back);
    front.try_send(&frame(100, 3), Meta::default()).expect("room");
    front.flush();
    drop(back);
    // What the toolstack does with a driver domain that has come back.
    pair.store.set(&format!("{BACK}/state"), "1");
    let mut back = pair.back(back::Config::default());
    connect(&mut front, &mut back);
    drain(&mut back);
    assert_works(&mut front, &mut back);
    assert!(pair.machine.pages_in_use(pair.guest.id()) < 200);
}

#[test]
fn a_resumed_guest_connects_anew() {
    let (pair, mut front, mut back) = connected(front::Config::default(), back::Config::default());
    front.try_send(&frame(100, 3), Meta::default()).expect("room");
    front.resume().expect("store");
    connect(&mut front, &mut back);
    assert_works(&mut front, &mut back);
    drop((front, back));
    pair.assert_clean();
}

#[test]
fn a_frontend_that_uses_fewer_queues_than_before_is_understood() {
    let pair = Pair::new();
    let mut back = pair.back(back::Config::default());
    let mut front = pair.front(front::Config {
        queues: 3,
        ..front::Config::default()
    });
    connect(&mut front, &mut back);
    assert_eq!(back.queue_count(), 3);
    front.close();
    settle(&mut front, &mut back);
    drop(front);
    pair.store.set(&format!("{FRONT}/state"), "1");
    let mut front = pair.front(front::Config {
        split_channels: false,
        ..front::Config::default()
    });
    connect(&mut front, &mut back);
    assert_eq!(back.queue_count(), 1);
    assert_works(&mut front, &mut back);
    assert_eq!(pair.store.get(&format!("{FRONT}/queue-0/tx-ring-ref")), None);
    assert_eq!(pair.store.get(&format!("{FRONT}/event-channel-tx")), None);
}

#[test]
fn a_machine_that_refuses_something_leaves_nothing_behind() {
    for kind in [Kind::Allocate, Kind::Grant, Kind::AllocateUnbound] {
        for skip in [0, 1, 2, 3] {
            let pair = Pair::new();
            let mut back = pair.back(back::Config::default());
            back.poll().expect("store");
            let mut front = pair.front(front::Config::default());
            let error = if kind == Kind::Allocate {
                HalError::NoMemory
            } else {
                HalError::NoGrants
            };
            pair.machine.fail(pair.guest.id(), kind, skip, error);
            match front.poll() {
                Err(found) => {
                    assert_eq!(found, Error::Hal(error), "{kind:?} {skip}");
                    pair.assert_clean();
                }
                // There were fewer calls of this kind.
                Ok(_) => assert!(skip > 1, "{kind:?} {skip}"),
            }
        }
    }
    for kind in [Kind::Map, Kind::Bind, Kind::Allocate] {
        for skip in [0, 1] {
            let pair = Pair::new();
            let mut back = pair.back(back::Config::default());
            back.poll().expect("store");
            let mut front = pair.front(front::Config::default());
            front.poll().expect("store");
            pair.machine.fail(pair.driver.id(), kind, skip, HalError::NoMemory);
            assert_ne!(
                back.poll().expect("only this device fails"),
                Status::Up,
                "{kind:?} {skip}"
            );
            assert_eq!(pair.machine.grants_mapped(pair.driver.id()), 0);
            assert_eq!(pair.machine.ports_in_use(pair.driver.id()), 0);
        }
    }
}

#[test]
fn copies_that_the_hypervisor_refuses_cost_their_frame_alone() {
    let (pair, mut front, mut back) = connected(front::Config::default(), back::Config::default());
    pair.machine.fail(pair.driver.id(), Kind::Copy, 1, HalError::BadGrant);
    for seed in 0..3 {
        front.try_send(&frame(1000, seed), Meta::default()).expect("room");
    }
    front.flush();
    let frames: Vec<_> = drain(&mut back).into_iter().map(|(frame, _)| frame).collect();
    assert_eq!(frames, [frame(1000, 0), frame(1000, 2)]);
    assert_eq!(back.statistics().dropped, 1);
    pair.machine.fail(pair.driver.id(), Kind::Copy, 1, HalError::BadGrant);
    for seed in 0..3 {
        back.try_send(&frame(1000, seed), Meta::default()).expect("room");
    }
    back.flush();
    let frames: Vec<_> = drain(&mut front).into_iter().map(|(frame, _)| frame).collect();
    assert_eq!(frames, [frame(1000, 0), frame(1000, 2)]);
    assert_works(&mut front, &mut back);
}

/// A driver domain that sends every frame back.
fn spawn_echo(pair: &Pair) -> Rc<RefCell<usize>> {
    let (echoed, mut back) = (Rc::new(RefCell::new(0)), pair.back(back::Config::default()));
    let count = echoed.clone();
    let mut buffer = vec![0; MAX_FRAME];
    let mut held = None;
    pair.driver.spawn(move || {
        back.poll().expect("store");
        while let Some(received) = held.take().or_else(|| back.try_receive(&mut buffer)) {
            if back.try_send(&buffer[..received.len], received.meta) == Err(SendError::Full) {
                held = Some(received);
                break;
            }
            *count.borrow_mut() += 1;
        }
        back.flush();
        back.arm(held.is_some());
    });
    echoed
}

#[test]
fn blocking_use_sleeps_and_wakes_for_every_frame() {
    for seed in 0..5 {
        let pair = Pair::new();
        pair.machine.shuffle(seed);
        spawn_echo(&pair);
        let mut front = pair.front(front::Config {
            send_pages: 4,
            receive_pages: 4,
            ..front::Config::default()
        });
        assert!(front.wait_until_up(None).expect("store"));
        let mut buffer = vec![0; MAX_FRAME];
        for number in 0..300 {
            let sent = frame(60 + number as usize * 13 % 3900, number);
            front.send(&sent, Meta::default()).expect("up");
            let received = front.receive(&mut buffer, None).expect("up").expect("no deadline");
            assert_eq!(&buffer[..received.len], &sent[..], "frame {number}");
        }
        let deadline = front.now() + Duration::from_millis(20);
        assert_eq!(front.receive(&mut buffer, Some(deadline)), Ok(None));
    }
}

#[test]
fn many_senders_of_frames_that_find_no_room_wait_and_lose_none() {
    let pair = Pair::new();
    let echoed = spawn_echo(&pair);
    let mut front = pair.front(front::Config {
        send_pages: 8,
        receive_pages: 32,
        ..front::Config::default()
    });
    assert!(front.wait_until_up(None).expect("store"));
    let mut buffer = vec![0; MAX_FRAME];
    let (mut sent, mut received) = (0, 0);
    while received < 500 {
        if sent < 500 {
            front.send(&frame(8000, sent), Meta::default()).expect("up");
            sent += 1;
        }
        while front.try_receive(&mut buffer).is_some() {
            received += 1;
        }
        if sent == 500 && received < 500 {
            assert!(front.receive(&mut buffer, None).expect("up").is_some());
            received += 1;
        }
    }
    assert_eq!(*echoed.borrow(), 500);
    assert!(!pair.guest.wait(&[], Some(pair.guest.now() + Duration::from_millis(1))));
}
