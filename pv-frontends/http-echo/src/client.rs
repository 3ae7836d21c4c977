//! A client that makes one request.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use smoltcp::iface::{Context, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{ConnectError, Socket, SocketBuffer, State};
use smoltcp::wire::IpEndpoint;

/// Bytes of the socket's buffers.
const BUFFER: usize = 64 << 10;

/// How a request ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The answer.
    Answer {
        /// The status code.
        status: u16,
        /// The body.
        body: Vec<u8>,
    },
    /// The connection broke, or the answer makes no sense.
    Failed,
}

/// A request under way.
pub struct Client {
    handle: SocketHandle,
    request: Vec<u8>,
    sent: usize,
    answer: Vec<u8>,
}

impl Client {
    /// Begins a request: a `POST` if there is a body, otherwise a `GET`. `local_port` is one that no other connection
    /// uses.
    ///
    /// # Errors
    /// The stack's, for an address that cannot be.
    pub fn new(
        sockets: &mut SocketSet<'_>,
        context: &mut Context,
        server: IpEndpoint,
        local_port: u16,
        path: &str,
        body: Option<&[u8]>,
    ) -> Result<Self, ConnectError> {
        let mut socket = Socket::new(SocketBuffer::new(vec![0; BUFFER]), SocketBuffer::new(vec![0; BUFFER]));
        socket.connect(context, server, local_port)?;
        let (method, len) = if body.is_some() {
            ("POST", body.map_or(0, <[u8]>::len))
        } else {
            ("GET", 0)
        };
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: guest\r\nContent-Length: {len}\r\n\r\n").into_bytes();
        request.extend_from_slice(body.unwrap_or_default());
        Ok(Self {
            handle: sockets.add(socket),
            request,
            sent: 0,
            answer: Vec::new(),
        })
    }

    /// Moves what can be moved; the outcome once the server has closed. Then the socket is gone.
    pub fn poll(&mut self, sockets: &mut SocketSet<'_>) -> Option<Outcome> {
        let socket = sockets.get_mut::<Socket<'_>>(self.handle);
        while socket.can_send() && self.sent < self.request.len() {
            // It can send: that was just asked.
            self.sent += socket.send_slice(&self.request[self.sent..]).unwrap_or(0);
        }
        while socket.can_recv() {
            let answer = &mut self.answer;
            let taken = socket.recv(|data| {
                answer.extend_from_slice(data);
                (data.len(), ())
            });
            if taken.is_err() {
                break;
            }
        }
        if socket.state() == State::CloseWait && !socket.can_recv() {
            socket.close();
        }
        if socket.is_open() {
            return None;
        }
        sockets.remove(self.handle);
        Some(parse(&self.answer).unwrap_or(Outcome::Failed))
    }
}

fn parse(answer: &[u8]) -> Option<Outcome> {
    let end = crate::request::find_end(answer)?;
    let (head, body) = (core::str::from_utf8(&answer[..end]).ok()?, &answer[end..]);
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))?
        .parse::<usize>()
        .ok()?;
    (length == body.len()).then(|| Outcome::Answer {
        status,
        body: body.to_vec(),
    })
}
