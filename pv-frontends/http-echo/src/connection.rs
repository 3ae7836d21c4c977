//! One connection of the server.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use md5::{Digest, Md5};
use smoltcp::socket::tcp::Socket;

use crate::pattern::{Pattern, md5_of_pattern};
use crate::request::{LONGEST_HEAD, Request, Wish, find_end};

/// Most bytes that are echoed: they are kept, for a client may send all before it reads.
const LONGEST_ECHO: u64 = 4 << 20;

/// Where a connection stands.
pub(crate) enum Connection {
    /// The head comes in.
    Head(Vec<u8>),
    /// The body comes in.
    Body {
        wish: Wish,
        left: u64,
        kept: Vec<u8>,
        digest: Md5,
    },
    /// The answer goes out: what is left of the text, then the pattern.
    Answer {
        text: Vec<u8>,
        sent: usize,
        pattern: Pattern,
        is_end: bool,
    },
    /// All is sent.
    Done { is_end: bool },
}

impl Connection {
    pub(crate) fn new() -> Self {
        Self::Head(Vec::new())
    }

    /// Takes and gives what the socket has and takes; true if anything moved.
    pub(crate) fn step(&mut self, socket: &mut Socket<'_>, bytes: &mut u64) -> bool {
        match self {
            Self::Head(_) | Self::Body { .. } if socket.can_recv() => {
                let count = socket.recv(|data| (data.len(), self.take(data))).unwrap_or(0);
                *bytes += count as u64;
                true
            }
            Self::Answer {
                text,
                sent,
                pattern,
                is_end,
            } if socket.can_send() => {
                let count = socket.send(|room| {
                    let now = room.len().min(text.len() - *sent);
                    room[..now].copy_from_slice(&text[*sent..*sent + now]);
                    *sent += now;
                    let count = now + pattern.fill(&mut room[now..]);
                    (count, count)
                });
                *bytes += count.unwrap_or(0) as u64;
                if *sent == text.len() && pattern.left() == 0 {
                    *self = Self::Done { is_end: *is_end };
                    socket.close();
                }
                true
            }
            _ => false,
        }
    }

    /// Looks at all of `data`; its length.
    fn take(&mut self, data: &[u8]) -> usize {
        match self {
            Self::Head(head) => {
                let old = head.len();
                head.extend_from_slice(data);
                match find_end(head) {
                    Some(end) => {
                        let (request, rest) = (Request::parse(&head[..end]), head.split_off(end));
                        *self = Self::begin_body(&request);
                        self.take(&rest);
                    }
                    None if old + data.len() > LONGEST_HEAD => *self = Self::answer(Wish::Refused(431), Vec::new(), ""),
                    None => {}
                }
            }
            Self::Body {
                left,
                kept,
                digest,
                wish,
            } => {
                let now = usize::try_from(*left).unwrap_or(usize::MAX).min(data.len());
                match wish {
                    Wish::Echo => kept.extend_from_slice(&data[..now]),
                    Wish::Md5 => digest.update(&data[..now]),
                    _ => {}
                }
                *left -= now as u64;
                self.end_body();
            }
            _ => {}
        }
        data.len()
    }

    fn begin_body(request: &Request) -> Self {
        let wish = match request.wish {
            Wish::Echo if request.body > LONGEST_ECHO => Wish::Refused(413),
            wish => wish,
        };
        let left = match wish {
            // Whoever is refused is told so at once.
            Wish::Refused(_) => 0,
            _ => request.body,
        };
        let mut body = Self::Body {
            wish,
            left,
            kept: Vec::new(),
            digest: Md5::new(),
        };
        body.end_body();
        body
    }

    fn end_body(&mut self) {
        let Self::Body {
            wish,
            left: 0,
            kept,
            digest,
        } = self
        else {
            return;
        };
        let sum = match *wish {
            Wish::Md5 => crate::hex(&digest.finalize_reset()),
            Wish::Md5Of(len) => md5_of_pattern(len),
            _ => String::new(),
        };
        *self = Self::answer(*wish, core::mem::take(kept), &sum);
    }

    fn answer(wish: Wish, kept: Vec<u8>, sum: &str) -> Self {
        let (status, body, pattern) = match wish {
            Wish::Greeting => (200, b"hello from a guest in Rust\n".to_vec(), 0),
            Wish::Echo => (200, kept, 0),
            Wish::Md5 | Wish::Md5Of(_) => (200, format!("{sum}\n").into_bytes(), 0),
            Wish::Data(len) => (200, Vec::new(), len),
            Wish::End => (200, b"goodbye\n".to_vec(), 0),
            Wish::Refused(status) => (status, b"refused\n".to_vec(), 0),
        };
        let reason = if status == 200 { "OK" } else { "Refused" };
        let len = body.len() as u64 + pattern;
        let mut text =
            format!("HTTP/1.1 {status} {reason}\r\nContent-Length: {len}\r\nConnection: close\r\n\r\n").into_bytes();
        text.extend_from_slice(&body);
        Self::Answer {
            text,
            sent: 0,
            pattern: Pattern::new(pattern),
            is_end: wish == Wish::End,
        }
    }
}
