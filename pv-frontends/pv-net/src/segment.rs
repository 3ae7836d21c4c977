//! Cutting a large TCP segment into those that a link takes, where the side that it is handed to cannot.

use alloc::vec::Vec;

use crate::checksum::{self, Transport};
use crate::meta::Gso;

/// Why a frame cannot be cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Uncuttable {
    /// It has no TCP header, or not over the protocol that was said.
    NotTcp,
    /// Into segments of less than [`LEAST`] bytes, which no connection agrees on.
    TooSmall,
}

/// Least bytes of payload of a segment that is not the last: below the least that IPv4 promises to carry (RFC 791) less
/// all options. Whoever sends a frame says how it is to be cut, and a cut into single bytes would make one frame cost as
/// much as 65000.
pub const LEAST: u16 = 48;

const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

/// Cuts `frame` into segments of at most `gso.size` bytes of payload and gives each to `take`, complete with lengths,
/// sequence numbers, flags and checksums, for as long as that wants more. `scratch` is where they are built.
///
/// # Errors
/// [`Uncuttable`]; then `take` has not been called.
pub fn cut(
    frame: &[u8],
    gso: Gso,
    scratch: &mut Vec<u8>,
    mut take: impl FnMut(&mut [u8]) -> bool,
) -> Result<(), Uncuttable> {
    let transport = Transport::find(frame)
        .filter(|found| found.is_tcp)
        .ok_or(Uncuttable::NotTcp)?;
    let tcp = transport.body.start;
    let payload = tcp + usize::from(frame[tcp + 12] >> 4) * 4;
    if payload < tcp + 20 || payload > transport.body.end {
        return Err(Uncuttable::NotTcp);
    }
    let data = &frame[payload..transport.body.end];
    let sequence = u32::from_be_bytes([frame[tcp + 4], frame[tcp + 5], frame[tcp + 6], frame[tcp + 7]]);
    let size = usize::from(gso.size.get());
    let count = data.len().div_ceil(size).max(1);
    if count > 1 && gso.size.get() < LEAST {
        return Err(Uncuttable::TooSmall);
    }
    for index in 0..count {
        let start = index * size;
        let part = &data[start..data.len().min(start + size)];
        scratch.clear();
        scratch.extend_from_slice(&frame[..payload]);
        scratch.extend_from_slice(part);
        let place = Place {
            is_first: index == 0,
            is_last: index + 1 == count,
            sequence: sequence.wrapping_add(start as u32),
            index: index as u16,
        };
        finish(scratch, &transport, &place);
        if !take(scratch) {
            break;
        }
    }
    Ok(())
}

/// Where a segment stands among the others.
struct Place {
    is_first: bool,
    is_last: bool,
    sequence: u32,
    index: u16,
}

fn finish(segment: &mut [u8], transport: &Transport, place: &Place) {
    let (ip, tcp, end) = (transport.ip, transport.body.start, segment.len());
    // Lengths fit: the headers and 65535 bytes at most were in a frame whose size is 16 bits.
    if transport.is_v6 {
        segment[ip + 4..ip + 6].copy_from_slice(&((end - ip - 40) as u16).to_be_bytes());
    } else {
        segment[ip + 2..ip + 4].copy_from_slice(&((end - ip) as u16).to_be_bytes());
        let number = u16::from_be_bytes([segment[ip + 4], segment[ip + 5]]).wrapping_add(place.index);
        segment[ip + 4..ip + 6].copy_from_slice(&number.to_be_bytes());
        checksum::complete_ipv4_header(segment, ip, tcp - ip);
    }
    segment[tcp + 4..tcp + 8].copy_from_slice(&place.sequence.to_be_bytes());
    if !place.is_last {
        segment[tcp + 13] &= !(FIN | PSH);
    }
    if !place.is_first {
        segment[tcp + 13] &= !CWR;
    }
    checksum::complete(segment);
}
