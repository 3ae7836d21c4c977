//! The server: some sockets that listen.

use alloc::vec;
use alloc::vec::Vec;

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};

use crate::connection::Connection;

/// Bytes of each socket's buffers.
const BUFFER: usize = 256 << 10;

/// Serves on one port.
pub struct Server {
    port: u16,
    connections: Vec<(SocketHandle, Connection)>,
    served: u64,
    bytes: u64,
    is_ended: bool,
}

impl Server {
    /// Makes `count` sockets, so that many connections are served at a time.
    pub fn new(sockets: &mut SocketSet<'_>, count: usize, port: u16) -> Self {
        let socket = || Socket::new(SocketBuffer::new(vec![0; BUFFER]), SocketBuffer::new(vec![0; BUFFER]));
        let connections = (0..count).map(|_| (sockets.add(socket()), Connection::new())).collect();
        Self {
            port,
            connections,
            served: 0,
            bytes: 0,
            is_ended: false,
        }
    }

    /// Serves what there is to serve; true if anything moved, so that the stack is to be polled again.
    pub fn poll(&mut self, sockets: &mut SocketSet<'_>) -> bool {
        let mut moved = false;
        for (handle, connection) in &mut self.connections {
            let socket = sockets.get_mut::<Socket<'_>>(*handle);
            if matches!(connection, Connection::Done { .. }) && socket.state() == State::TimeWait {
                // Both sides have closed. To wait for stray segments would keep a listener from the next client.
                socket.abort();
            }
            if !socket.is_open() {
                if let Connection::Done { is_end } = connection {
                    self.served += 1;
                    self.is_ended |= *is_end;
                }
                *connection = Connection::new();
                // It is closed and the port is a number: nothing that could be refused.
                moved |= socket.listen(self.port).is_ok();
                continue;
            }
            while connection.step(socket, &mut self.bytes) {
                moved = true;
            }
            let waits_in_vain =
                matches!(connection, Connection::Head(_) | Connection::Body { .. }) && !socket.may_recv();
            if waits_in_vain && socket.is_active() && socket.may_send() {
                // The client has gone in the midst of its request.
                socket.abort();
                moved = true;
            }
        }
        moved
    }

    /// Whether a client has asked for the end, and has its answer.
    pub fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Requests answered.
    pub fn served(&self) -> u64 {
        self.served
    }

    /// Bytes received and sent.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
