//! Frames that the other side of a bridge answers: ARP, ICMP echo, TCP.

use alloc::vec::Vec;

use pv_net::{Mac, checksum};

/// This guest's address and that of whoever answers: Dom0, or QEMU behind a driver domain.
const OWN: [u8; 4] = [10, 0, 0, 2];
const PEER: [u8; 4] = [10, 0, 0, 1];

const ARP_REPLY: u8 = 2;
const ICMP: u8 = 1;
const TCP: u8 = 6;

/// A port where nobody listens.
const NOBODY: u16 = 9;

fn ethernet(to: Mac, from: Mac, kind: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(1600);
    frame.extend_from_slice(&to);
    frame.extend_from_slice(&from);
    frame.extend_from_slice(&kind.to_be_bytes());
    frame
}

/// Asks for the peer's hardware address.
pub(super) fn arp_request(own: Mac) -> Vec<u8> {
    let mut frame = ethernet([0xff; 6], own, 0x0806);
    frame.extend_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend_from_slice(&own);
    frame.extend_from_slice(&OWN);
    frame.extend_from_slice(&[0; 6]);
    frame.extend_from_slice(&PEER);
    frame.resize(60, 0);
    frame
}

/// The peer's hardware address, if this frame tells it.
pub(super) fn arp_answer(frame: &[u8]) -> Option<Mac> {
    let is_answer = frame.len() >= 42 && frame[12..14] == [8, 6] && frame[21] == ARP_REPLY && frame[28..32] == PEER;
    is_answer.then(|| frame[22..28].try_into().unwrap_or_default())
}

fn ipv4(to: Mac, from: Mac, protocol: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = ethernet(to, from, 0x0800);
    let total = (20 + body.len()) as u16;
    frame.extend_from_slice(&[0x45, 0]);
    frame.extend_from_slice(&total.to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0x40, 0, 64, protocol, 0, 0]);
    frame.extend_from_slice(&OWN);
    frame.extend_from_slice(&PEER);
    let sum = internet_sum(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

fn internet_sum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// The data of an echo request: different for each number.
pub(super) fn echo_data(number: u16, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at as u8).wrapping_mul(7).wrapping_add(number as u8))
        .collect()
}

/// An echo request with `len` bytes of data.
pub(super) fn echo_request(to: Mac, from: Mac, number: u16, len: usize) -> Vec<u8> {
    let mut body = Vec::from([8, 0, 0, 0, 0x50, 0x56]);
    body.extend_from_slice(&number.to_be_bytes());
    body.extend_from_slice(&echo_data(number, len));
    let sum = internet_sum(&body);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    ipv4(to, from, ICMP, &body)
}

/// The data of an echo answer to our request of this number.
pub(super) fn echo_answer(frame: &[u8], number: u16) -> Option<&[u8]> {
    let total = usize::from(u16::from_be_bytes(frame.get(16..18)?.try_into().ok()?));
    let is_answer = frame.len() >= 42
        && frame[12..14] == [8, 0]
        && frame[23] == ICMP
        && frame[34] == 0
        && frame[38..40] == [0x50, 0x56]
        && frame[40..42] == number.to_be_bytes();
    if !is_answer {
        return None;
    }
    frame.get(42..14 + total)
}

/// A request for a connection to a port where nobody listens, from `port`; its checksum is blank.
pub(super) fn tcp_request(to: Mac, from: Mac, port: u16) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&port.to_be_bytes());
    body.extend_from_slice(&NOBODY.to_be_bytes());
    body.extend_from_slice(&[0, 0, 0, 100, 0, 0, 0, 0, 0x50, 2, 0x20, 0, 0, 0, 0, 0]);
    let mut frame = ipv4(to, from, TCP, &body);
    checksum::blank(&mut frame);
    frame
}

/// Whether a frame refuses the connection that was asked for from `port`.
pub(super) fn is_tcp_refusal(frame: &[u8], port: u16) -> bool {
    const RESET: u8 = 4;
    frame.len() >= 54
        && frame[12..14] == [8, 0]
        && frame[23] == TCP
        && frame[36..38] == port.to_be_bytes()
        && frame[47] & RESET != 0
}
