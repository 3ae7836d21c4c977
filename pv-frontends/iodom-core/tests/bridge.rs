//! Frames between guests and the wire.
mod bed;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use bed::{Bed, Client, Server, bed};
use iodom_core::bridge::{Bridge, Uplink};
use iodom_core::config::NetConfig;
use iodom_core::guest::attach_net;
use pv_hal::fake::Domain;
use pv_net::front::{Config, Front};
use pv_net::{Checksum, Interface, Meta, Status, checksum};

/// Frames that come from outside, and frames that were sent there.
#[derive(Default)]
struct Frames {
    inbound: VecDeque<Vec<u8>>,
    outbound: Vec<Vec<u8>>,
}

#[derive(Clone, Default)]
struct Wire(Rc<RefCell<Frames>>);

impl Uplink for Wire {
    fn receive(&mut self, into: &mut [u8]) -> Option<usize> {
        let frame = self.0.borrow_mut().inbound.pop_front()?;
        into[..frame.len()].copy_from_slice(&frame);
        Some(frame.len())
    }

    fn send(&mut self, frame: &[u8]) -> bool {
        self.0.borrow_mut().outbound.push(frame.to_vec());
        true
    }
}

struct Net {
    bed: Bed,
    wire: Wire,
    fronts: Vec<Front<Domain, Client>>,
}

/// Guests with one interface each, connected to a bridge.
fn net(count: u16) -> Net {
    let bed = bed(count);
    let wire = Wire::default();
    let mut bridge: Bridge<Domain, Server, Wire> = Bridge::new(Some(wire.clone()));
    for domid in 1..=count {
        let (device, end) = attach_net(&bed.driver, &bed.store, domid, 0, &NetConfig::default()).expect("an interface");
        bridge.add(device, end);
    }
    let store = bed.store.clone();
    bed.driver.spawn(move || {
        bridge.ends().for_each(|(_, end)| {
            end.poll().expect("a backend that works");
        });
        bridge.forward();
        store.serve();
    });
    let fronts = bed.guests.iter().map(|(hal, store)| {
        let mut front = Front::new(hal, store.clone(), "device/vif/0", Config::default()).expect("a frontend");
        for _ in 0..100 {
            if front.poll().expect("a frontend that works") == Status::Up {
                return front;
            }
            bed.machine.run_round();
        }
        panic!("the interface does not come up");
    });
    let fronts = fronts.collect();
    Net { bed, wire, fronts }
}

impl Net {
    fn received(&mut self, guest: usize) -> Vec<Vec<u8>> {
        self.bed.machine.settle(20);
        let mut buffer = vec![0; 70000];
        let mut frames = Vec::new();
        while let Some(received) = self.fronts[guest].try_receive(&mut buffer) {
            frames.push(buffer[..received.len].to_vec());
        }
        frames
    }

    fn send(&mut self, guest: usize, frame: &[u8]) {
        self.fronts[guest].try_send(frame, Meta::default()).expect("room");
        self.fronts[guest].flush();
    }

    fn on_wire(&mut self) -> Vec<Vec<u8>> {
        self.bed.machine.settle(20);
        std::mem::take(&mut self.wire.0.borrow_mut().outbound)
    }
}

fn frame(to: [u8; 6], from: [u8; 6], text: &str) -> Vec<u8> {
    let mut frame = [&to[..], &from[..], &[0x88, 0xb5], text.as_bytes()].concat();
    frame.resize(60, 0);
    frame
}

const ALL: [u8; 6] = [0xff; 6];
const OUTSIDE: [u8; 6] = [2, 0, 0, 0, 0, 9];

#[test]
fn frames_to_all_reach_all_and_answers_only_their_receiver() {
    let mut net = net(3);
    let macs: Vec<_> = net.fronts.iter().map(Interface::mac).collect();
    let hello = frame(ALL, macs[0], "hello");
    net.send(0, &hello);
    assert_eq!(net.received(1), [&hello[..]]);
    assert_eq!(net.received(2), [&hello[..]]);
    assert!(net.received(0).is_empty(), "not back to where it came from");
    assert_eq!(net.on_wire(), [&hello[..]]);
    let answer = frame(macs[0], macs[1], "answer");
    net.send(1, &answer);
    assert_eq!(net.received(0), [&answer[..]]);
    assert!(
        net.received(2).is_empty() && net.on_wire().is_empty(),
        "the bridge has learnt where guest 1 is"
    );
}

#[test]
fn the_wire_is_one_of_the_ends() {
    let mut net = net(2);
    let behind = [6, 0, 0, 0, 0, 9];
    let unknown = frame(behind, OUTSIDE, "who");
    net.wire.0.borrow_mut().inbound.push_back(unknown.clone());
    assert_eq!(
        net.received(0),
        [&unknown[..]],
        "a receiver that is not known yet gets it with all others"
    );
    let answer = frame(OUTSIDE, behind, "me");
    net.send(0, &answer);
    assert_eq!(net.on_wire(), [&answer[..]]);
    net.wire.0.borrow_mut().inbound.push_back(unknown.clone());
    assert_eq!(net.received(0), [&unknown[..]]);
    assert_eq!(net.received(1).len(), 1, "only the first, which went to all");
}

#[test]
fn sums_that_a_guest_leaves_open_are_right_on_the_wire() {
    let mut net = net(1);
    let mac = net.fronts[0].mac();
    // UDP over IPv4 from 10.0.0.2 to 10.0.0.1, without its sum.
    let mut udp = [&OUTSIDE[..], &mac[..], &[8, 0]].concat();
    udp.extend([0x45, 0, 0, 36, 0, 0, 0, 0, 64, 17, 0x66, 0xc7, 10, 0, 0, 2, 10, 0, 0, 1]);
    udp.extend([0, 7, 0, 7, 0, 16, 0, 0]);
    udp.extend(b"checksum");
    assert!(checksum::blank(&mut udp) && !checksum::is_right(&udp));
    let meta = Meta {
        checksum: Checksum::Blank,
        gso: None,
    };
    net.fronts[0].try_send(&udp, meta).expect("room");
    net.fronts[0].flush();
    let frames = net.on_wire();
    assert!(frames.len() == 1 && checksum::is_right(&frames[0]), "{frames:02x?}");
}

#[test]
fn frames_too_short_to_have_addresses_go_nowhere() {
    let mut net = net(2);
    net.wire.0.borrow_mut().inbound.extend([vec![1; 13], vec![]]);
    net.bed.machine.settle(20);
    assert!(net.received(0).is_empty() && net.received(1).is_empty());
}

#[test]
fn a_guest_takes_neither_anothers_address_nor_anothers_room() {
    let mut net = net(3);
    let macs: Vec<_> = net.fronts.iter().map(Interface::mac).collect();
    let behind = [6, 0, 0, 0, 0, 1];
    // The first guest sends as if it were the second, and from more addresses than are kept.
    net.send(0, &frame(OUTSIDE, macs[1], "mine"));
    for number in 0..2000u16 {
        let [high, low] = number.to_be_bytes();
        net.send(0, &frame(OUTSIDE, [2, 1, 0, 0, high, low], "many"));
        if number % 32 == 0 {
            net.on_wire();
            net.received(1);
            net.received(2);
        }
    }
    // The second has another machine behind it, which is remembered all the same.
    net.send(1, &frame(OUTSIDE, behind, "here"));
    net.on_wire();
    for guest in 0..3 {
        net.received(guest);
    }
    for to in [macs[1], behind] {
        let inbound = frame(to, OUTSIDE, "to the second");
        net.wire.0.borrow_mut().inbound.push_back(inbound.clone());
        assert_eq!(net.received(1), [inbound]);
        assert!(net.received(0).is_empty() && net.received(2).is_empty());
    }
}
