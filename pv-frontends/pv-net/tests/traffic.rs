//! Frames between front and back on the fake machine.

mod pair;

use std::num::NonZeroU16;

use pair::{connected, drain, frame};
use pv_net::{Checksum, Features, Gso, GsoKind, Interface, MAX_FRAME, Meta, SendError, back, front};

fn both_ways(front: &mut pair::TheFront, back: &mut pair::TheBack, frame: &[u8], meta: Meta) {
    front.try_send(frame, meta).expect("room to the back");
    front.flush();
    assert_eq!(
        drain(back),
        [(frame.to_vec(), meta)],
        "to the back, {} bytes",
        frame.len()
    );
    back.try_send(frame, meta).expect("room to the front");
    back.flush();
    assert_eq!(
        drain(front),
        [(frame.to_vec(), meta)],
        "to the front, {} bytes",
        frame.len()
    );
}

#[test]
fn frames_of_every_size_arrive_whole() {
    let (_pair, mut front, mut back) = connected(front::Config::default(), back::Config::default());
    for len in [14, 15, 60, 1514, 4095, 4096, 4097, 8192, 9014, 65000, 65535] {
        both_ways(&mut front, &mut back, &frame(len, len as u32), Meta::default());
    }
}

#[test]
fn what_travels_beside_a_frame_arrives_with_it() {
    let (_pair, mut front, mut back) = connected(front::Config::default(), back::Config::default());
    for checksum in [Checksum::Unknown, Checksum::Valid, Checksum::Blank] {
        for kind in [None, Some(GsoKind::TcpV4), Some(GsoKind::TcpV6)] {
            let gso = kind.map(|kind| Gso {
                kind,
                size: NonZeroU16::new(1400).unwrap(),
            });
            both_ways(&mut front, &mut back, &frame(30000, 1), Meta { checksum, gso });
        }
    }
}

#[test]
fn rings_go_round_many_times_without_losing_order_or_pages() {
    let config = front::Config {
        send_pages: 8,
        receive_pages: 16,
        ..front::Config::default()
    };
    let (pair, mut front, mut back) = connected(config, back::Config::default());
    let pages = pair.machine.pages_in_use(pair.guest.id());
    let (mut sent, mut arrived) = (Vec::new(), Vec::new());
    for number in 0..2000u32 {
        let frame = frame(14 + (number as usize * 37) % 6000, number);
        match front.try_send(&frame, Meta::default()) {
            Ok(()) => sent.push(frame),
            Err(error) => {
                assert_eq!(error, SendError::Full);
                front.flush();
                arrived.extend(drain(&mut back));
                front
                    .try_send(&frame, Meta::default())
                    .expect("room after the back has answered");
                sent.push(frame);
            }
        }
    }
    front.flush();
    arrived.extend(drain(&mut back));
    assert_eq!(sent.len(), arrived.len());
    assert!(sent.iter().zip(&arrived).all(|(sent, (arrived, _))| sent == arrived));
    assert_eq!(pair.machine.pages_in_use(pair.guest.id()), pages);
    assert_eq!(front.statistics().send_errors, 0);
}

#[test]
fn a_guest_that_gives_no_room_is_told_from_one_that_does() {
    let config = front::Config {
        receive_pages: 8,
        ..front::Config::default()
    };
    let (_pair, mut front, mut back) = connected(config, back::Config::default());
    let frames: Vec<_> = (0..8).map(|seed| frame(1000, seed)).collect();
    for frame in &frames {
        back.try_send(frame, Meta::default())
            .expect("eight pages for eight frames");
    }
    assert!(!back.has_room(1000));
    assert_eq!(back.try_send(&frames[0], Meta::default()), Err(SendError::Full));
    back.flush();
    assert!(!back.arm(true), "nothing has changed");
    assert_eq!(drain(&mut front).len(), 8);
    assert!(back.arm(true), "the guest has read, so there is room");
    back.try_send(&frames[0], Meta::default()).expect("room again");
}

#[test]
fn several_queues_carry_all_frames_and_keep_a_connection_in_order() {
    let config = front::Config {
        queues: 3,
        ..front::Config::default()
    };
    let (_pair, mut front, mut back) = connected(config, back::Config::default());
    assert_eq!((front.queue_count(), back.queue_count()), (3, 3));
    // Frames of ten pairs of hosts, numbered within each.
    for number in 0..20u8 {
        for host in 0..10u8 {
            front
                .try_send(&[[host; 13].as_slice(), &[number; 20]].concat(), Meta::default())
                .expect("room");
        }
        front.flush();
        for (frame, _) in drain(&mut back) {
            assert_eq!(frame[13], number, "host {}", frame[0]);
            back.try_send(&frame, Meta::default()).expect("room");
        }
        back.flush();
        assert_eq!(drain(&mut front).len(), 10);
    }
}

#[test]
fn what_the_peer_does_not_take_is_done_in_software() {
    let (front_config, back_config) = (
        front::Config {
            features: Features::NONE,
            ..front::Config::default()
        },
        back::Config {
            features: Features::NONE,
            ..back::Config::default()
        },
    );
    let (_pair, mut front, mut back) = connected(front_config, back_config);
    let segment = tcp_frame(5000);
    let meta = Meta {
        checksum: Checksum::Blank,
        gso: Some(Gso {
            kind: GsoKind::TcpV4,
            size: NonZeroU16::new(1400).unwrap(),
        }),
    };
    front.try_send(&segment, meta).expect("room");
    front.flush();
    back.try_send(&segment, meta).expect("room");
    back.flush();
    for frames in [drain(&mut back), drain(&mut front)] {
        assert_eq!(frames.len(), 4);
        let mut payload = Vec::new();
        for (index, (frame, meta)) in frames.iter().enumerate() {
            assert_eq!((meta.checksum, meta.gso), (Checksum::Valid, None));
            assert!(pv_net::checksum::is_right(frame), "segment {index}");
            let sequence = u32::from_be_bytes(frame[38..42].try_into().unwrap());
            assert_eq!(sequence, 1000 + payload.len() as u32);
            assert_eq!(frame[47] & 1 != 0, index == 3, "FIN only on the last");
            payload.extend_from_slice(&frame[54..]);
        }
        assert_eq!(payload, &segment[54..]);
    }
    assert_eq!(
        front.try_send(&frame(4097, 0), Meta::default()),
        Err(SendError::BadLength)
    );
    front
        .try_send(&frame(4096, 0), Meta::default())
        .expect("one page is always taken");
}

#[test]
fn empty_frames_and_frames_beyond_the_largest_are_refused() {
    let (_pair, mut front, mut back) = connected(front::Config::default(), back::Config::default());
    for len in [0, MAX_FRAME + 1] {
        assert_eq!(
            front.try_send(&vec![0; len], Meta::default()),
            Err(SendError::BadLength)
        );
        assert_eq!(back.try_send(&vec![0; len], Meta::default()), Err(SendError::BadLength));
    }
}

#[test]
fn a_frame_that_does_not_fit_the_buffer_is_dropped_and_the_next_arrives() {
    let (_pair, mut front, mut back) = connected(front::Config::default(), back::Config::default());
    for (from, to) in [(0, 1), (1, 0)] {
        let ends: [&mut dyn Ends; 2] = [&mut front, &mut back];
        let [front, back] = ends;
        let (sender, receiver) = if (from, to) == (0, 1) {
            (front, back)
        } else {
            (back, front)
        };
        sender.put(&frame(2000, 1));
        sender.put(&frame(500, 2));
        let mut small = [0; 1000];
        assert_eq!(receiver.get(&mut small), Some(500));
        assert_eq!(small[..500], frame(500, 2));
        assert_eq!(receiver.dropped(), 1);
    }
}

trait Ends {
    fn put(&mut self, frame: &[u8]);
    fn get(&mut self, into: &mut [u8]) -> Option<usize>;
    fn dropped(&self) -> u64;
}

impl<I: Interface> Ends for I {
    fn put(&mut self, frame: &[u8]) {
        self.try_send(frame, Meta::default()).expect("room");
        self.flush();
    }
    fn get(&mut self, into: &mut [u8]) -> Option<usize> {
        self.try_receive(into).map(|received| received.len)
    }
    fn dropped(&self) -> u64 {
        self.statistics().dropped
    }
}

/// A TCP segment over IPv4 with sequence number 1000, FIN and PSH set and a blank checksum.
fn tcp_frame(payload: usize) -> Vec<u8> {
    let total = (40 + payload) as u16;
    let mut frame = vec![2; 12];
    frame.extend([0x08, 0x00, 0x45, 0]);
    frame.extend(total.to_be_bytes());
    frame.extend([0, 7, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend([0x12, 0x34, 0, 80]);
    frame.extend(1000u32.to_be_bytes());
    frame.extend([0, 0, 0, 1, 0x50, 0x19, 0x20, 0, 0, 0, 0, 0]);
    frame.extend(pair::frame(payload, 3));
    assert!(pv_net::checksum::blank(&mut frame));
    frame
}
