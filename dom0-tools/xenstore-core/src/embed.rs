//! For programs that have no loop of sockets around the store: local clients that call, and rounds over the rings.
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use xenstore_proto::{Error, Header, Kind, append_message, fields, split_message};

use crate::access::Identity;
use crate::connection::{Connection, Link};
use crate::daemon::Daemon;
use crate::platform::Platform;

/// How often a round looks at one ring that goes on and on.
const LOOKS: usize = 8;

/// A client within the same program, with the rights of domain 0.
pub struct LocalClient {
    slot: usize,
    events: VecDeque<(Vec<u8>, Vec<u8>)>,
}

impl LocalClient {
    /// The path and the token of the next event of its watches that [`Daemon::collect_events`] or a call has found.
    pub fn take_event(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        self.events.pop_front()
    }
}

impl<P: Platform> Daemon<P> {
    /// Makes a client within the same program.
    pub fn add_local_client(&mut self, stream: P::Stream) -> LocalClient {
        let connection = Connection::new(Identity::privileged(), Link::Socket(stream));
        LocalClient {
            slot: self.add_connection(connection),
            events: VecDeque::new(),
        }
    }

    /// Carries out one request of a local client and gives the answer's payload.
    ///
    /// # Errors
    /// What the answer says.
    pub fn call(
        &mut self,
        client: &mut LocalClient,
        kind: Kind,
        transaction: u32,
        payload: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let mut message = Vec::with_capacity(Header::SIZE + payload.len());
        append_message(&mut message, kind, 1, transaction, payload);
        // Earlier events make room first, or the client would count as one that does not read.
        self.collect_events(client);
        if self.handle_messages(client.slot, &message) == 0 {
            // A domain's transaction holds it up; whoever serves the store does not wait for that.
            self.end_reservation();
            if let Some(connection) = self.client(client.slot) {
                connection.stalled = false;
            }
            self.handle_messages(client.slot, &message);
        }
        let mut answer = Err(Error::EIO);
        self.read_output(client, |header, payload| {
            answer = match header.kind {
                Kind::ERROR => Err(Error::from_payload(payload)),
                _ => Ok(payload.to_vec()),
            };
        });
        answer
    }

    /// Finds the events of a local client's watches.
    pub fn collect_events(&mut self, client: &mut LocalClient) {
        self.read_output(client, |_, _| {});
    }

    fn read_output(&mut self, client: &mut LocalClient, mut answered: impl FnMut(Header, &[u8])) {
        let Some(connection) = self.client(client.slot) else {
            return;
        };
        connection.dirty = false;
        loop {
            let bytes = connection.output.pending();
            let length = bytes.len();
            let mut rest = bytes;
            while let Ok(Some((header, payload))) = split_message(rest) {
                rest = &rest[Header::SIZE + payload.len()..];
                if header.kind == Kind::WATCH_EVENT {
                    let mut parts = fields(payload).map(<[u8]>::to_vec);
                    client.events.extend(parts.next().zip(parts.next()));
                } else {
                    answered(header, payload);
                }
            }
            connection.output.advance(length);
            if connection.missed.is_empty() {
                return;
            }
            connection.tell_missed();
        }
    }

    /// One round over the rings: serves those whose port is among `ports`, and sends what any client is to be sent.
    /// True if somebody has more that can be handled at once.
    ///
    /// Nothing is told of changes but to clients: the records that a journal would want are dropped.
    pub fn run_round(&mut self, ports: &[u32]) -> bool {
        let now = self.host.now();
        if self.reservation.as_ref().is_some_and(|held| now >= held.until) {
            self.end_reservation();
        }
        for slot in 0..self.connections.len() {
            let ring = self.client(slot).and_then(Connection::ring);
            if ring.is_some_and(|ring| ports.contains(&ring.port)) {
                self.serve_ring(slot);
                // Even if there was no request: the domain may have made room for answers.
                self.touch(slot);
            }
        }
        let mut ready = self.flush_touched();
        for _ in 0..LOOKS {
            if ready.is_empty() {
                break;
            }
            ready.into_iter().for_each(|slot| self.serve_ring(slot));
            ready = self.flush_touched();
        }
        self.live.log.clear();
        let more = !ready.is_empty();
        // They are looked at again at the next round's end, whoever else has events then.
        ready.into_iter().for_each(|slot| self.touch(slot));
        more
    }

    /// Sends what can be sent; those that have more to be handled.
    fn flush_touched(&mut self) -> Vec<usize> {
        let mut ready = Vec::new();
        for slot in core::mem::take(&mut self.touched) {
            let Some(connection) = self.client(slot) else { continue };
            if connection.ring().is_none() {
                continue;
            }
            connection.dirty = false;
            let mut more = self.flush_ring(slot);
            if let Some(connection) = self.client(slot)
                && connection.output.is_empty()
                && !connection.missed.is_empty()
            {
                connection.tell_missed();
                self.touch(slot);
                more = true;
            }
            if more && !ready.contains(&slot) {
                ready.push(slot);
            }
        }
        ready
    }
}
