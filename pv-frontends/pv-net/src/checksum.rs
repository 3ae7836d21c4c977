//! Checksums of TCP and UDP in Ethernet frames: looking, completing and blanking them.
//!
//! A frame comes from a peer, so every length in it is checked against the bytes that are there. What is not TCP or
//! UDP over IP, or is a fragment, has no checksum that these functions know.

use core::ops::Range;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const ETHERTYPE_VLAN: u16 = 0x8100;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Where the parts of a frame lie that checksums and segmentation are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transport {
    /// Where the IP header begins.
    pub(crate) ip: usize,
    /// True for IPv6.
    pub(crate) is_v6: bool,
    /// True for TCP, false for UDP.
    pub(crate) is_tcp: bool,
    /// The transport's header and data: from there to the end of the IP packet.
    pub(crate) body: Range<usize>,
}

impl Transport {
    /// Finds TCP or UDP in an Ethernet frame.
    pub(crate) fn find(frame: &[u8]) -> Option<Self> {
        let (mut kind, mut ip) = (word(frame, 12)?, 14);
        if kind == ETHERTYPE_VLAN {
            (kind, ip) = (word(frame, 16)?, 18);
        }
        match kind {
            ETHERTYPE_IPV4 => Self::find_v4(frame, ip),
            ETHERTYPE_IPV6 => Self::find_v6(frame, ip),
            _ => None,
        }
    }

    fn find_v4(frame: &[u8], ip: usize) -> Option<Self> {
        let first = *frame.get(ip)?;
        let header = usize::from(first & 15) * 4;
        let total = usize::from(word(frame, ip + 2)?);
        let is_fragment = word(frame, ip + 6)? & 0x3fff != 0;
        if first >> 4 != 4 || header < 20 || is_fragment {
            return None;
        }
        // A packet that is to be segmented may be too large for its length field: then the frame's length counts.
        let end = if total == 0 { frame.len() } else { ip + total };
        Self::new(frame, ip, false, *frame.get(ip + 9)?, ip + header..end)
    }

    fn find_v6(frame: &[u8], ip: usize) -> Option<Self> {
        let payload = usize::from(word(frame, ip + 4)?);
        let end = if payload == 0 { frame.len() } else { ip + 40 + payload };
        if frame.get(ip)? >> 4 != 6 {
            return None;
        }
        // Extension headers are rare before TCP and UDP; a frame with one is left to software.
        Self::new(frame, ip, true, *frame.get(ip + 6)?, ip + 40..end)
    }

    fn new(frame: &[u8], ip: usize, is_v6: bool, protocol: u8, body: Range<usize>) -> Option<Self> {
        let (is_tcp, least) = match protocol {
            TCP => (true, 20),
            UDP => (false, 8),
            _ => return None,
        };
        if body.start + least > body.end || body.end > frame.len() {
            return None;
        }
        Some(Self {
            ip,
            is_v6,
            is_tcp,
            body,
        })
    }

    /// Where the checksum's two bytes are.
    pub(crate) fn field(&self) -> usize {
        self.body.start + if self.is_tcp { 16 } else { 6 }
    }

    /// The sum over the pseudo-header, for a body of `len` bytes; not inverted.
    pub(crate) fn pseudo_sum(&self, frame: &[u8], len: usize) -> u32 {
        let addresses = if self.is_v6 {
            self.ip + 8..self.ip + 40
        } else {
            self.ip + 12..self.ip + 20
        };
        let protocol = u32::from(if self.is_tcp { TCP } else { UDP });
        let len = (len as u32 & 0xffff) + (len as u32 >> 16);
        sum(&frame[addresses]) + protocol + len
    }

    /// True for a UDP packet over IPv4 that was sent without a checksum, as it may be.
    fn has_none(&self, frame: &[u8]) -> bool {
        !self.is_tcp && !self.is_v6 && frame[self.field()..self.field() + 2] == [0, 0]
    }
}

/// True if the TCP or UDP checksum of `frame` is right, or there is none to check.
pub fn is_right(frame: &[u8]) -> bool {
    let Some(transport) = Transport::find(frame) else {
        return true;
    };
    if transport.has_none(frame) {
        return true;
    }
    let body = transport.body.clone();
    fold(transport.pseudo_sum(frame, body.len()) + sum(&frame[body])) == 0xffff
}

/// Computes the TCP or UDP checksum of `frame` and puts it in place. False where the frame has no such checksum.
pub fn complete(frame: &mut [u8]) -> bool {
    let Some(transport) = Transport::find(frame) else {
        return false;
    };
    let field = transport.field();
    frame[field..field + 2].fill(0);
    let body = transport.body.clone();
    let value = !fold(transport.pseudo_sum(frame, body.len()) + sum(&frame[body]));
    // A UDP sum of zero would say that there is none; the other zero of ones' complement says the same number.
    let value = if value == 0 && !transport.is_tcp { 0xffff } else { value };
    frame[field..field + 2].copy_from_slice(&value.to_be_bytes());
    true
}

/// Puts the sum of the pseudo-header alone in the checksum's place, as a frame needs that is sent with
/// [`Checksum::Blank`](crate::Checksum::Blank). False where the frame has no TCP or UDP checksum: it cannot be blank.
pub fn blank(frame: &mut [u8]) -> bool {
    let Some(transport) = Transport::find(frame) else {
        return false;
    };
    let value = fold(transport.pseudo_sum(frame, transport.body.len()));
    let field = transport.field();
    frame[field..field + 2].copy_from_slice(&value.to_be_bytes());
    true
}

/// Writes the checksum of the IPv4 header at `ip`, whose length has been checked.
pub(crate) fn complete_ipv4_header(frame: &mut [u8], ip: usize, header: usize) {
    frame[ip + 10..ip + 12].fill(0);
    let value = !fold(sum(&frame[ip..ip + header]));
    frame[ip + 10..ip + 12].copy_from_slice(&value.to_be_bytes());
}

fn word(frame: &[u8], at: usize) -> Option<u16> {
    let bytes = frame.get(at..at + 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// The ones' complement sum of big-endian words, not folded to the end. Frames have at most 64 KiB or so, so it cannot
/// overflow once the eight bytes of each step are folded.
fn sum(bytes: &[u8]) -> u32 {
    let mut total = 0u64;
    let (chunks, rest) = bytes.as_chunks::<4>();
    for chunk in chunks {
        total += u64::from(u32::from_be_bytes(*chunk));
    }
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    total += u64::from(u32::from_be_bytes(last));
    while total >> 16 != 0 && total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u32
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
