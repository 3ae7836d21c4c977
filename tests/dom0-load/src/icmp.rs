//! Echo requests by a raw socket, several with one system call.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::requests::failed;

/// Marks our requests among others; that of `pv-frontends/guests/net`.
const IDENTIFIER: u16 = 0x5056;
const HEADER: usize = 8;
/// Bytes of an answer: the IP header stands before it.
const LARGEST: usize = 2048;
/// What is lost is not waited for longer.
const PATIENCE: libc::timeval = libc::timeval { tv_sec: 5, tv_usec: 0 };

/// Requests to one host, `depth` of them under way.
pub(crate) struct Echoes {
    socket: OwnedFd,
    requests: Vec<Vec<u8>>,
    answers: Vec<Vec<u8>>,
    idle: Vec<usize>,
}

impl Echoes {
    /// Requests with so many bytes of data.
    pub(crate) fn to(address: &str, bytes: usize, depth: usize) -> Result<Self, String> {
        let host: Ipv4Addr = address.parse().map_err(|_| format!("`{address}` is no address"))?;
        // SAFETY: the descriptor is nobody else's.
        let socket = unsafe {
            let number = libc::socket(libc::AF_INET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::IPPROTO_ICMP);
            if number < 0 {
                return Err(failed("socket"));
            }
            OwnedFd::from_raw_fd(number)
        };
        let name = libc::sockaddr_in {
            sin_family: libc::AF_INET as u16,
            sin_port: 0,
            sin_addr: libc::in_addr {
                s_addr: u32::from_ne_bytes(host.octets()),
            },
            sin_zero: [0; 8],
        };
        // SAFETY: both structures live, and their sizes are told.
        let refused = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVTIMEO,
                std::ptr::from_ref(&PATIENCE).cast(),
                size_of_val(&PATIENCE) as u32,
            ) != 0
                || libc::connect(socket.as_raw_fd(), (&raw const name).cast(), size_of_val(&name) as u32) != 0
        };
        if refused {
            return Err(failed(address));
        }
        Ok(Self {
            socket,
            requests: (0..depth).map(|number| request(number as u16, bytes)).collect(),
            answers: vec![vec![0; LARGEST]; depth],
            idle: (0..depth).collect(),
        })
    }

    /// Makes so many requests.
    pub(crate) fn run(&mut self, count: u32) -> Result<(), String> {
        let (mut begun, mut ended) = (0, 0);
        while ended < count {
            let going = self.idle.len().min((count - begun) as usize);
            let slots = self.idle.split_off(self.idle.len() - going);
            self.send(&slots)?;
            begun += going as u32;
            ended += self.receive()?;
        }
        Ok(())
    }

    fn send(&mut self, slots: &[usize]) -> Result<(), String> {
        let pieces: Vec<libc::iovec> = slots.iter().map(|&slot| piece(&mut self.requests[slot])).collect();
        let mut messages: Vec<libc::mmsghdr> = pieces.iter().map(message).collect();
        if messages.is_empty() {
            return Ok(());
        }
        // SAFETY: each message names one piece, which names a request that lives.
        let sent = unsafe { libc::sendmmsg(self.socket.as_raw_fd(), messages.as_mut_ptr(), messages.len() as u32, 0) };
        match usize::try_from(sent) {
            Ok(sent) if sent == slots.len() => Ok(()),
            Ok(sent) => Err(format!("{sent} of {} requests were sent", slots.len())),
            Err(_) => Err(failed("sendmmsg")),
        }
    }

    /// Waits for at least one answer; how many have come.
    fn receive(&mut self) -> Result<u32, String> {
        let pieces: Vec<libc::iovec> = self.answers.iter_mut().map(piece).collect();
        let mut messages: Vec<libc::mmsghdr> = pieces.iter().map(message).collect();
        let (room, flags) = (messages.len() as u32, libc::MSG_WAITFORONE);
        // SAFETY: each message names one piece, which names a buffer that lives; the time limit is the socket's.
        let count = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                messages.as_mut_ptr(),
                room,
                flags as _,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| failed("an echo's answer"))?;
        let mut ours = 0;
        for (answer, message) in self.answers.iter().zip(&messages[..count]) {
            let slot = number_of(answer.get(..message.msg_len as usize).unwrap_or_default());
            if let Some(slot) = slot.filter(|slot| *slot < self.requests.len() && !self.idle.contains(slot)) {
                self.idle.push(slot);
                ours += 1;
            }
        }
        Ok(ours)
    }
}

fn piece(bytes: &mut Vec<u8>) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    }
}

fn message(piece: &libc::iovec) -> libc::mmsghdr {
    // SAFETY: zero is no address, no control data, no flags.
    let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
    message.msg_hdr.msg_iov = std::ptr::from_ref(piece).cast_mut();
    message.msg_hdr.msg_iovlen = 1;
    message
}

fn request(number: u16, bytes: usize) -> Vec<u8> {
    let mut packet = vec![8, 0, 0, 0];
    packet.extend_from_slice(&IDENTIFIER.to_be_bytes());
    packet.extend_from_slice(&number.to_be_bytes());
    packet.resize(HEADER + bytes, 0x5a);
    let words = packet
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let sum = !((folded & 0xffff) + (folded >> 16)) as u16;
    packet[2..4].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// The number of the request that a packet with its IP header answers.
fn number_of(packet: &[u8]) -> Option<usize> {
    let icmp = packet.get(usize::from(packet.first()? & 15) * 4..)?;
    let is_answer = *icmp.first()? == 0 && icmp.get(4..6)? == IDENTIFIER.to_be_bytes();
    let number = u16::from_be_bytes(icmp.get(6..8)?.try_into().ok()?);
    is_answer.then_some(usize::from(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_known_by_its_number() {
        let mut packet = vec![0x45; 20];
        packet.extend(request(7, 56));
        assert_eq!(number_of(&packet), None, "a request is no answer");
        packet[20] = 0;
        assert_eq!(number_of(&packet), Some(7));
        packet[24] = 1;
        assert_eq!(number_of(&packet), None);
        assert_eq!(number_of(&packet[..26]), None);
        assert_eq!(number_of(&[]), None);
    }

    #[test]
    fn a_request_sums_up_to_nothing() {
        for bytes in [0, 56, 1400] {
            let packet = request(3, bytes);
            let words = packet
                .chunks(2)
                .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
            let sum: u32 = words.sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "{bytes}");
        }
    }
}
