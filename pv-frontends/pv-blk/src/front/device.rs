//! A device's rings, from one connection to the next.
#![expect(
    clippy::result_large_err,
    reason = "what cannot be sent comes back whole, without another allocation"
)]

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use pv_hal::{DomId, Hal, Memory, Port};
use xen_abi::BLKIF_MAX_SEGMENTS_PER_REQUEST;

use super::queue::{Peer, Queue, Sent};
use super::{Buffer, Completion, Error, Fault, Operation, Refused, Token};
use crate::negotiation::{Connection, Properties, Transport};
use crate::{SECTOR_SIZE, SECTORS_PER_PAGE};

/// Requests and completions of one disk. It is the part of a frontend that knows no xenstore: whoever drives it tells
/// it of a backend by [`prepare`](Self::prepare) and [`connect`](Self::connect), and of its end by
/// [`disconnect`](Self::disconnect); [`Frontend`](super::Frontend) does.
///
/// No method waits but [`wait`](Self::wait).
pub struct Device<H: Hal> {
    hal: H,
    handle: u16,
    persistent: bool,
    connection: u64,
    transport: Transport,
    properties: Option<Properties>,
    queues: Vec<Queue<H>>,
    /// The queue that the next request goes to.
    next: usize,
    tokens: u64,
    /// Requests that the last backend has not answered, and those that found no room in the new rings.
    waiting: VecDeque<Sent<H>>,
    done: VecDeque<Completion<H>>,
    fault: Option<Fault>,
}

impl<H: Hal> Device<H> {
    /// A disk without a backend. `handle` is its number (`virtual-device`); with `persistent`, grants stay between
    /// requests.
    pub fn new(hal: &H, handle: u16, persistent: bool) -> Self {
        Self {
            hal: hal.clone(),
            handle,
            persistent,
            connection: 0,
            transport: Transport::default(),
            properties: None,
            queues: Vec::new(),
            next: 0,
            tokens: 0,
            waiting: VecDeque::new(),
            done: VecDeque::new(),
            fault: None,
        }
    }

    /// Makes rings for `backend`; what to publish of them. Those of an earlier backend are gone.
    ///
    /// # Errors
    /// The machine has no memory, grants or ports for them.
    pub fn prepare(&mut self, backend: DomId, transport: Transport) -> Result<Connection, Error> {
        self.disconnect();
        self.fault = None;
        self.connection += 1;
        let peer = Peer {
            domain: backend,
            connection: self.connection,
            handle: self.handle,
            persistent: self.persistent,
        };
        let queues = (0..transport.queues.max(1)).map(|_| Queue::new(&self.hal, peer, transport.ring_order));
        self.queues = queues.collect::<Result<_, _>>()?;
        self.transport = transport;
        self.next = 0;
        Ok(Connection {
            persistent: self.persistent,
            ring_order: transport.ring_order,
            queues: self.queues.iter().map(Queue::address).collect(),
        })
    }

    /// The backend has taken up the rings, and this is its disk. Requests that an earlier backend has left without an
    /// answer are made again.
    pub fn connect(&mut self, properties: Properties) {
        self.properties = Some(properties);
        self.resend();
        self.publish();
    }

    /// The backend is gone, or is to be left. Its requests wait for the next one; [`cancel`](Self::cancel) ends them.
    pub fn disconnect(&mut self) {
        self.properties = None;
        let mut requests: Vec<Sent<H>> = self.queues.drain(..).flat_map(|mut queue| queue.drain()).collect();
        requests.sort_by_key(|sent| sent.token);
        for mut sent in requests.into_iter().rev() {
            match sent.buffer.as_mut().map_or(Ok(()), Buffer::isolate) {
                Ok(()) => self.waiting.push_front(sent),
                Err(error) => self.done.push_back(sent.complete(Err(Error::Machine(error)))),
            }
        }
    }

    /// Ends all requests that have no answer, with `error`.
    pub fn cancel(&mut self, error: Error) {
        self.disconnect();
        let waiting = self.waiting.drain(..);
        self.done.extend(waiting.map(|sent| sent.complete(Err(error.clone()))));
    }

    /// What the disk is; none without a backend.
    pub fn properties(&self) -> Option<&Properties> {
        self.properties.as_ref()
    }

    /// What was agreed with the backend.
    pub fn transport(&self) -> &Transport {
        &self.transport
    }

    /// How the backend has broken the protocol, if it has.
    pub fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Requests that are not complete.
    pub fn in_flight(&self) -> usize {
        self.waiting.len() + self.done.len() + self.queues.iter().map(Queue::in_flight).sum::<usize>()
    }

    /// Most sectors that one request can move.
    pub fn max_sectors(&self) -> u32 {
        let direct = BLKIF_MAX_SEGMENTS_PER_REQUEST as u32;
        self.transport.indirect_segments.max(direct) * SECTORS_PER_PAGE as u32
    }

    /// Memory for requests of up to `sectors`.
    ///
    /// # Errors
    /// There is none left.
    pub fn buffer(&self, sectors: u32) -> Result<Buffer<H>, Error> {
        Ok(Buffer::new(&self.hal, sectors as usize * SECTOR_SIZE)?)
    }

    /// Reads `sectors` from `sector` on into `buffer`. Sectors have 512 bytes whatever the disk's own are.
    ///
    /// # Errors
    /// The request was not made; the buffer comes back.
    pub fn read(&mut self, sector: u64, sectors: u32, buffer: Buffer<H>) -> Result<Token, Refused<H>> {
        self.submit(Operation::Read { sector, sectors }, Some(buffer))
    }

    /// Writes `sectors` from `sector` on out of `buffer`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn write(&mut self, sector: u64, sectors: u32, buffer: Buffer<H>) -> Result<Token, Refused<H>> {
        self.submit(Operation::Write { sector, sectors }, Some(buffer))
    }

    /// Has the disk put on stable storage what was written: every write that was complete before.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn flush(&mut self) -> Result<Token, Refused<H>> {
        self.submit(Operation::Flush, None)
    }

    /// Gives up `sectors` from `sector` on; with `secure`, beyond recovery.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn discard(&mut self, sector: u64, sectors: u64, secure: bool) -> Result<Token, Refused<H>> {
        self.submit(
            Operation::Discard {
                sector,
                sectors,
                secure,
            },
            None,
        )
    }

    /// Makes a request. It goes off with the next [`publish`](Self::publish), so that several make one event.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn submit(&mut self, operation: Operation, buffer: Option<Buffer<H>>) -> Result<Token, Refused<H>> {
        if let Err(error) = self.check(operation, buffer.as_ref()) {
            return Err(Refused { error, buffer });
        }
        self.tokens += 1;
        let token = Token(self.tokens);
        match self.push(Sent::new(token, operation, buffer)) {
            Ok(()) => Ok(token),
            Err((error, sent)) => Err(Refused {
                error,
                buffer: sent.buffer,
            }),
        }
    }

    fn check(&self, operation: Operation, buffer: Option<&Buffer<H>>) -> Result<(), Error> {
        if let Some(fault) = self.fault {
            return Err(Error::Broken(fault));
        }
        let disk = self.properties.ok_or(Error::Disconnected)?;
        let (sector, sectors) = match operation {
            Operation::Flush => return if disk.flush { Ok(()) } else { Err(Error::Unsupported) },
            Operation::Discard {
                sector,
                sectors,
                secure,
            } => {
                let discard = disk.discard.ok_or(Error::Unsupported)?;
                if secure && !discard.secure {
                    return Err(Error::Unsupported);
                }
                (sector, sectors)
            }
            Operation::Read { sector, sectors } | Operation::Write { sector, sectors } => {
                let room = buffer.map_or(0, |buffer| buffer.byte_count() / SECTOR_SIZE);
                if sectors > self.max_sectors() || sectors as usize > room {
                    return Err(Error::BadLength);
                }
                (sector, u64::from(sectors))
            }
        };
        if disk.read_only && !matches!(operation, Operation::Read { .. }) {
            return Err(Error::ReadOnly);
        }
        if sectors == 0 {
            return Err(Error::BadLength);
        }
        let unit = u64::from(disk.sector_size) / SECTOR_SIZE as u64;
        if !sector.is_multiple_of(unit) || !sectors.is_multiple_of(unit) {
            return Err(Error::Misaligned);
        }
        match sector.checked_add(sectors) {
            Some(end) if end <= disk.sectors => Ok(()),
            _ => Err(Error::OutOfRange),
        }
    }

    /// Puts a request into the first ring with room, beginning behind the one that the last request went to.
    fn push(&mut self, mut sent: Sent<H>) -> Result<(), (Error, Sent<H>)> {
        let count = self.queues.len();
        let mut error = Error::Full;
        for step in 0..count {
            let index = (self.next + step) % count;
            if !self.queues[index].has_room() {
                continue;
            }
            match self.queues[index].push(sent) {
                Ok(()) => {
                    self.next = (index + 1) % count;
                    return Ok(());
                }
                Err((why, back)) => (error, sent) = (why, back),
            }
        }
        Err((error, sent))
    }

    /// Makes requests of an earlier connection again, as far as the rings have room.
    fn resend(&mut self) {
        if self.properties.is_none() || self.fault.is_some() {
            return;
        }
        while let Some(sent) = self.waiting.pop_front() {
            // The new backend may have another disk, and carry less in one request.
            if let Err(error) = self.check(sent.operation, sent.buffer.as_ref()) {
                self.done.push_back(sent.complete(Err(error)));
                continue;
            }
            match self.push(sent) {
                Ok(()) => {}
                Err((Error::Full, sent)) => return self.waiting.push_front(sent),
                Err((error, sent)) => self.done.push_back(sent.complete(Err(error))),
            }
        }
    }

    /// Lets the backend see the requests that were made since the last call.
    pub fn publish(&mut self) {
        for queue in &mut self.queues {
            queue.publish();
        }
    }

    /// The next request that is complete; none if there is none now. Never waits.
    pub fn poll_completion(&mut self) -> Option<Completion<H>> {
        if let Some(completion) = self.done.pop_front() {
            return Some(completion);
        }
        for index in 0..self.queues.len() {
            match self.queues[index].pop() {
                Ok(None) => {}
                Ok(Some(completion)) => {
                    if !self.waiting.is_empty() {
                        self.resend();
                        self.publish();
                    }
                    return Some(completion);
                }
                Err(fault) => return self.give_up(fault),
            }
        }
        None
    }

    fn give_up(&mut self, fault: Fault) -> Option<Completion<H>> {
        self.fault = Some(fault);
        self.cancel(Error::Broken(fault));
        self.done.pop_front()
    }

    /// The ports to wait for, for whoever waits for several things.
    pub fn ports(&self) -> impl Iterator<Item = Port> + '_ {
        self.queues.iter().map(Queue::port)
    }

    /// Publishes requests and asks for events; true if there is a completion already, so that nobody waits.
    pub fn arm(&mut self) -> bool {
        self.publish();
        if !self.done.is_empty() {
            return true;
        }
        let mut ready = false;
        for index in 0..self.queues.len() {
            self.queues[index].take_event();
            match self.queues[index].arm() {
                Ok(more) => ready |= more,
                Err(fault) => {
                    self.fault = Some(fault);
                    self.cancel(Error::Broken(fault));
                    return true;
                }
            }
        }
        ready
    }

    /// Waits for a completion, or until `deadline` on the machine's clock; none for the deadline, or where no request
    /// is in flight.
    pub fn wait(&mut self, deadline: Option<Duration>) -> Option<Completion<H>> {
        loop {
            if let Some(completion) = self.poll_completion() {
                return Some(completion);
            }
            if self.queues.is_empty() || self.in_flight() == 0 {
                return None;
            }
            if self.arm() {
                continue;
            }
            let ports: Vec<Port> = self.ports().collect();
            if !self.hal.wait(&ports, deadline) && deadline.is_some_and(|deadline| self.hal.now() >= deadline) {
                return self.poll_completion();
            }
        }
    }
}

impl<H: Hal> Drop for Device<H> {
    fn drop(&mut self) {
        // The channels close before the pages that the backend may be told of go.
        self.queues.clear();
    }
}

impl<H: Hal> fmt::Debug for Device<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device")
            .field("properties", &self.properties)
            .field("transport", &self.transport)
            .field("in_flight", &self.in_flight())
            .field("fault", &self.fault)
            .finish_non_exhaustive()
    }
}
