//! Serving a domain's ring: taking requests, giving answers.
//!
//! What a round takes from a ring is marked as read only after the round's journal batch was written, and answers become
//! visible to the domain only then. So whenever the daemon ends, each request is either still in the ring, or its
//! effects and answers are in the journal.

use alloc::vec::Vec;
use core::sync::atomic::Ordering::{Acquire, Release};

use xenstore_proto::ring::{self, Fault};
use xenstore_proto::{Error, Header};

use crate::connection::{Connection, Link, Ring};
use crate::daemon::{Daemon, Introduced};
use crate::platform::{Platform, RingPage};

impl<P: Platform> Daemon<P> {
    /// Connects a domain's ring, or begins anew with one that is connected.
    pub fn connect_ring(&mut self, domain: u16, frame: u64, remote_port: u32) -> Result<(), Error> {
        if !self.learn(domain) {
            return Err(Error::ENOENT);
        }
        let slot = self
            .domains
            .get(&domain)
            .and_then(|known| known.ring.as_ref())
            .map(|ring| ring.slot);
        let slot = match slot {
            Some(slot) => {
                self.rebind(slot, domain, remote_port);
                slot
            }
            None => {
                let page = self.host.map_ring(domain, frame)?;
                let port = self.host.bind(domain, remote_port)?;
                self.add_ring(domain, page, port)
            }
        };
        self.reset_connection(slot);
        if let Some(ring) = self.client(slot).and_then(Connection::ring) {
            ring.reset();
        }
        if let Some(known) = self.domains.get_mut(&domain) {
            known.shutdown = false;
            known.ring = Some(Introduced {
                slot,
                frame,
                remote_port,
            });
        }
        self.log_domain(domain);
        self.touch(slot);
        Ok(())
    }

    /// Makes a connection of a mapped ring.
    pub fn add_ring(&mut self, domain: u16, page: P::Page, port: u32) -> usize {
        page.store_u32(
            ring::SERVER_FEATURES,
            ring::FEATURE_RECONNECTION | ring::FEATURE_ERROR,
            Release,
        );
        let ring = Ring {
            page,
            port,
            taken: 0,
            broken: false,
            journaled: false,
            journaled_end: 0,
        };
        let connection = Connection::new(self.identity_of(domain), Link::Ring(ring));
        self.add_connection(connection)
    }

    /// Binds a ring to another port of its domain.
    fn rebind(&mut self, slot: usize, domain: u16, remote_port: u32) {
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        let Link::Ring(ring) = &mut connection.link else { return };
        self.host.unbind(ring.port);
        // Without a port the ring is still served whenever another event makes the daemon look.
        ring.port = self.host.bind(domain, remote_port).unwrap_or(0);
    }

    /// Takes what is in a ring and handles what is complete.
    pub fn serve_ring(&mut self, slot: usize) {
        let outstanding = self.quotas.outstanding;
        let Some(connection) = self.client(slot) else { return };
        let paused = connection.stalled || connection.is_paused(outstanding);
        let Connection {
            link: Link::Ring(ring),
            input,
            ..
        } = connection
        else {
            return;
        };
        if ring.page.load_u32(ring::CONNECTION, Acquire) == ring::RECONNECT {
            return self.reconnect_ring(slot);
        }
        if ring.broken || paused {
            return;
        }
        let held = input.len();
        // A message that waits is handled before more is taken, so that little is ever held for a domain.
        if held < Header::SIZE + xenstore_proto::PAYLOAD_MAX
            && let Err(fault) = ring.take(input)
        {
            return self.break_ring(slot, fault);
        }
        let mut bytes = core::mem::take(input);
        if bytes.len() != held {
            self.touch(slot);
        }
        let done = self.handle_messages(slot, &bytes);
        let Some(connection) = self.client(slot) else { return };
        if connection.closing {
            connection.closing = false;
            return self.break_ring(slot, Fault::Protocol);
        }
        bytes.drain(..done);
        connection.input = bytes;
    }

    /// Begins anew with a ring whose domain asks for it.
    fn reconnect_ring(&mut self, slot: usize) {
        self.reset_connection(slot);
        let Some(ring) = self.client(slot).and_then(Connection::ring) else {
            return;
        };
        ring.reset();
        ring.page.store_u32(ring::CONNECTION, ring::CONNECTED, Release);
        self.touch(slot);
    }

    /// Stops to serve a ring and tells its domain why.
    fn break_ring(&mut self, slot: usize, fault: Fault) {
        self.reset_connection(slot);
        let Some(connection) = self.client(slot) else { return };
        let domain = connection.identity.holder.domain;
        if let Link::Ring(ring) = &mut connection.link {
            ring.broken = true;
            ring.taken = 0;
            ring.page.store_u32(ring::ERROR, fault as u32, Release);
            self.host
                .log(format_args!("domain {domain}: ring is no longer served: {fault:?}"));
        }
        self.touch(slot);
    }

    /// Tells the journal how this ring stands, if that could not be found in the ring: something is under way, or this
    /// round has `changed` the store, so that requests still in the ring must not be carried out again.
    pub fn log_ring(&mut self, slot: usize, changed: bool) {
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        let (pending, end) = (connection.output.len(), connection.output.end());
        let held = !connection.input.is_empty();
        let Link::Ring(ring) = &mut connection.link else { return };
        if ring.taken == 0 && end == ring.journaled_end {
            return;
        }
        let under_way = held || pending > ring.room();
        if !(changed || under_way || ring.journaled) {
            return;
        }
        ring.journaled = under_way;
        ring.journaled_end = end;
        if let Some(state) = crate::state::ring_state(connection) {
            let domain = connection.identity.holder.domain;
            crate::state::put_ring(&mut self.live.log, domain, &state);
        }
    }

    /// Writes what fits of what is to be sent, and then marks what was taken as read: should the daemon end in between,
    /// an answer comes twice, not never. True if more requests wait.
    pub fn flush_ring(&mut self, slot: usize) -> bool {
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return false;
        };
        let Connection {
            link: Link::Ring(ring),
            output,
            ..
        } = connection
        else {
            return false;
        };
        let taken = ring.taken != 0;
        let given = ring.give(output.pending());
        ring.mark_taken();
        match given {
            Ok(0) if !taken => {}
            Ok(count) => {
                output.advance(count);
                let port = ring.port;
                self.host.notify(port);
            }
            Err(fault) if !ring.broken => {
                self.break_ring(slot, fault);
                return false;
            }
            Err(_) => {}
        }
        let outstanding = self.quotas.outstanding;
        let Some(Some(connection)) = self.connections.get(slot) else {
            return false;
        };
        let Link::Ring(ring) = &connection.link else {
            return false;
        };
        !connection.stalled
            && !connection.is_paused(outstanding)
            && (ring.has_more() || xenstore_proto::split_message(&connection.input) != Ok(None))
    }
}

impl<P: Platform> Ring<P> {
    fn load(&self, offset: usize) -> u32 {
        self.page.load_u32(offset, Acquire)
    }

    /// Begins anew with both streams.
    fn reset(&mut self) {
        let indexes = [
            ring::REQUEST_CONSUMER,
            ring::REQUEST_PRODUCER,
            ring::REPLY_CONSUMER,
            ring::REPLY_PRODUCER,
            ring::ERROR,
        ];
        indexes
            .iter()
            .for_each(|&offset| self.page.store_u32(offset, 0, Release));
        self.taken = 0;
        self.broken = false;
    }

    /// Appends the requests that are in the ring.
    fn take(&mut self, input: &mut Vec<u8>) -> Result<(), Fault> {
        let consumer = self.load(ring::REQUEST_CONSUMER);
        let used = ring::used(consumer, self.load(ring::REQUEST_PRODUCER))?;
        // `taken` is ours; the indexes are the guest's to spoil.
        let fresh = used.checked_sub(self.taken).ok_or(Fault::Index)?;
        for (offset, length) in ring::stretches(consumer.wrapping_add(self.taken), fresh) {
            let at = input.len();
            input.resize(at + length, 0);
            self.page.read(ring::REQUESTS + offset, &mut input[at..]);
        }
        self.taken = used;
        Ok(())
    }

    /// Whether there are requests that were not taken.
    fn has_more(&self) -> bool {
        let used = ring::used(self.load(ring::REQUEST_CONSUMER), self.load(ring::REQUEST_PRODUCER));
        !self.broken && used.is_ok_and(|bytes| bytes > self.taken)
    }

    /// Bytes that can be given now; 0 if the indexes make no sense.
    fn room(&self) -> usize {
        ring::free(self.load(ring::REPLY_CONSUMER), self.load(ring::REPLY_PRODUCER)).unwrap_or(0) as usize
    }

    /// Lets the domain reuse the room of what was taken.
    fn mark_taken(&mut self) {
        if self.taken != 0 {
            let consumer = self.load(ring::REQUEST_CONSUMER).wrapping_add(self.taken);
            self.page.store_u32(ring::REQUEST_CONSUMER, consumer, Release);
            self.taken = 0;
        }
    }

    /// Writes what fits; gives how many bytes those were.
    fn give(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let producer = self.load(ring::REPLY_PRODUCER);
        let free = ring::free(self.load(ring::REPLY_CONSUMER), producer)?;
        let count = bytes.len().min(free as usize);
        if count == 0 {
            return Ok(0);
        }
        let mut rest = &bytes[..count];
        for (offset, length) in ring::stretches(producer, count as u32) {
            let (now, later) = rest.split_at(length);
            self.page.write(ring::REPLIES + offset, now);
            rest = later;
        }
        self.page
            .store_u32(ring::REPLY_PRODUCER, producer.wrapping_add(count as u32), Release);
        Ok(count)
    }
}
