//! `--pings ADDRESS`: asks an address ten times a second (ICMP echo) until SIGTERM, then prints when it sent what was
//! never answered, in seconds since 1970: `LOST 1795417013.250`, and at last `PINGS 812 sent, 3 lost`.

use std::io::{Error, ErrorKind};
use std::mem;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::Check;

/// Time between two questions.
const INTERVAL: Duration = Duration::from_millis(100);
/// How long the last answers may take.
const PATIENCE: Duration = Duration::from_secs(5);
const ECHO: u8 = 8;
const ECHO_REPLY: u8 = 0;
/// Identifier of our questions.
const IDENTIFIER: u16 = 0x5056;

static END: AtomicBool = AtomicBool::new(false);

extern "C" fn end(_signal: i32) {
    END.store(true, Ordering::Relaxed);
}

/// A question: when it was sent, and whether it was answered.
struct Sent {
    at: Duration,
    answered: bool,
}

/// Asks until it is told to end.
pub(crate) fn run(address: &str) -> Check {
    let address: Ipv4Addr = address.parse().map_err(|_| format!("`{address}` is no IPv4 address"))?;
    let socket = Socket::open()?;
    // SAFETY: the handler only sets a flag.
    unsafe { libc::signal(libc::SIGTERM, end as *const () as usize) };
    let mut sent = Vec::new();
    while !END.load(Ordering::Relaxed) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Numbers of questions come around after two hours.
        socket.ask(address, sent.len() as u16)?;
        sent.push(Sent { at, answered: false });
        socket.take_answers(&mut sent, INTERVAL)?;
    }
    socket.take_answers(&mut sent, PATIENCE)?;
    let lost: Vec<&Sent> = sent.iter().filter(|ping| !ping.answered).collect();
    for ping in &lost {
        println!("LOST {}.{:03}", ping.at.as_secs(), ping.at.subsec_millis());
    }
    println!("PINGS {} sent, {} lost", sent.len(), lost.len());
    Ok(())
}

struct Socket(i32);

impl Socket {
    fn open() -> Result<Self, String> {
        // SAFETY: makes a socket, which this value closes.
        let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP) };
        if socket < 0 {
            return Err(format!("socket: {}", Error::last_os_error()));
        }
        Ok(Self(socket))
    }

    fn ask(&self, address: Ipv4Addr, number: u16) -> Check {
        let message = question(number);
        // SAFETY: all zeros is a socket address; its fields are set below.
        let mut to: libc::sockaddr_in = unsafe { mem::zeroed() };
        to.sin_family = libc::AF_INET as u16;
        to.sin_addr.s_addr = u32::from(address).to_be();
        let length = mem::size_of_val(&to) as u32;
        // SAFETY: message and address are alive and as long as is said.
        let result = unsafe {
            let to = (&raw const to).cast();
            libc::sendto(self.0, message.as_ptr().cast(), message.len(), 0, to, length)
        };
        // Nobody may know the address just now, or a queue be full: then it is lost.
        let error = Error::last_os_error();
        match error.raw_os_error() {
            _ if result >= 0 => Ok(()),
            Some(libc::EHOSTUNREACH | libc::ENOBUFS | libc::EINTR | libc::EHOSTDOWN) => Ok(()),
            _ => Err(format!("send: {error}")),
        }
    }

    /// Takes what answers come within a time.
    fn take_answers(&self, sent: &mut [Sent], time: Duration) -> Check {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let mut poll = libc::pollfd {
                fd: self.0,
                events: libc::POLLIN,
                revents: 0,
            };
            let millis = i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
            let mut packet = [0_u8; 1500];
            // SAFETY: one live structure to poll; the buffer is alive and as long as is said.
            let got = unsafe {
                match libc::poll(&raw mut poll, 1, millis) {
                    1 => libc::recv(self.0, packet.as_mut_ptr().cast(), packet.len(), libc::MSG_DONTWAIT),
                    other => other as isize,
                }
            };
            if got < 0 {
                let error = Error::last_os_error();
                match error.kind() {
                    // The end is looked for by the caller.
                    ErrorKind::Interrupted | ErrorKind::WouldBlock => continue,
                    _ => return Err(format!("receive: {error}")),
                }
            }
            if let Some(number) = answer(&packet[..got as usize]) {
                mark(sent, number);
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: the socket is this value's.
        unsafe { libc::close(self.0) };
    }
}

/// Notes the answer to the last question of that number.
fn mark(sent: &mut [Sent], number: u16) {
    let of_that_number = |(at, _): &(usize, &mut Sent)| *at as u16 == number;
    if let Some((_, ping)) = sent.iter_mut().enumerate().rev().find(of_that_number) {
        ping.answered = true;
    }
}

fn question(number: u16) -> [u8; 16] {
    let mut message = [0; 16];
    message[0] = ECHO;
    message[4..6].copy_from_slice(&IDENTIFIER.to_be_bytes());
    message[6..8].copy_from_slice(&number.to_be_bytes());
    let words = message
        .chunks_exact(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    message[2..4].copy_from_slice(&(!folded as u16).to_be_bytes());
    message
}

/// The number of the question that a packet answers, behind its IP header.
fn answer(packet: &[u8]) -> Option<u16> {
    let header = usize::from(packet.first()? & 15) * 4;
    let message = packet.get(header..header + 8)?;
    let is_ours = message[0] == ECHO_REPLY && message[4..6] == IDENTIFIER.to_be_bytes();
    is_ours.then(|| u16::from_be_bytes([message[6], message[7]]))
}
