//! A store over the ring that this domain shares with the store daemon (`public/io/xs_wire.h`).
mod wire;

use crate::{Error, Nodes, Store, WatchId};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use pv_hal::{Hal, Port};
use spin::Mutex;
use wire::{Reply, Wire};
use xenstore_proto::{Kind, append_part};

/// How long a request waits for its answer, unless [`RingStore::set_patience`] says otherwise.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a waiter sleeps at most: another vcpu may take the event that was meant for it.
const NAP: Duration = Duration::from_millis(20);

/// The connection to the store daemon; clones share it.
pub struct RingStore<H: Hal> {
    hal: H,
    wire: Arc<Mutex<Wire<H::Pages>>>,
}

impl<H: Hal> Clone for RingStore<H> {
    fn clone(&self) -> Self {
        Self {
            hal: self.hal.clone(),
            wire: self.wire.clone(),
        }
    }
}

/// A request under way, made by [`RingStore::submit`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ticket(u32);

impl<H: Hal> RingStore<H> {
    /// Takes up the domain's ring. What an earlier owner of the ring has left in it is dropped.
    ///
    /// # Errors
    /// [`Error::Absent`] where the domain has none.
    pub fn new(hal: &H) -> Result<Self, Error> {
        let (page, port) = hal.store_ring().ok_or(Error::Absent)?;
        Ok(Self {
            hal: hal.clone(),
            wire: Arc::new(Mutex::new(Wire::new(page, port, PATIENCE))),
        })
    }

    /// How long requests wait for their answers from now on.
    pub fn set_patience(&self, patience: Duration) {
        self.wire.lock().patience = patience;
    }

    /// Makes a request and does not wait: its answer comes by [`poll`](Self::poll). `transaction` is 0 for none; the
    /// payload is `parts`, each followed by a zero byte, and then `tail`.
    ///
    /// # Errors
    /// [`Error::Disconnected`]; the payload is too long.
    pub fn submit(&self, transaction: u32, kind: Kind, parts: &[&str], tail: &[u8]) -> Result<Ticket, Error> {
        let mut payload = Vec::new();
        parts.iter().for_each(|part| append_part(&mut payload, part.as_bytes()));
        payload.extend_from_slice(tail);
        let mut wire = self.wire.lock();
        let number = wire.submit(kind, transaction, &payload)?;
        self.pump(&mut wire)?;
        Ok(Ticket(number))
    }

    /// The answer to a request, once: none while it is not there. Never blocks.
    ///
    /// # Errors
    /// What the store answered; [`Error::Disconnected`].
    pub fn poll(&self, ticket: Ticket) -> Result<Option<Vec<u8>>, Error> {
        let mut wire = self.wire.lock();
        if let Some(reply) = wire.take_reply(ticket.0) {
            return reply.map(Some);
        }
        self.pump(&mut wire)?;
        wire.take_reply(ticket.0).transpose()
    }

    /// Gives up waiting for an answer; it is dropped when it comes.
    pub fn forget(&self, ticket: Ticket) {
        self.wire.lock().forget(ticket.0);
    }

    /// Waits for the answer to a request.
    ///
    /// # Errors
    /// What the store answered; [`Error::TimedOut`], [`Error::Disconnected`].
    pub fn wait(&self, ticket: Ticket) -> Reply {
        let (port, patience) = {
            let wire = self.wire.lock();
            (wire.port, wire.patience)
        };
        let deadline = self.hal.now() + patience;
        loop {
            // The event first, then the ring: what comes in between makes a new event.
            self.hal.take_event(port);
            if let Some(payload) = self.poll(ticket)? {
                return Ok(payload);
            }
            let now = self.hal.now();
            if now >= deadline {
                self.forget(ticket);
                return Err(Error::TimedOut);
            }
            self.hal.wait(&[port], Some(deadline.min(now + NAP)));
        }
    }

    /// After the domain was resumed in another place: takes up the new ring that [`Hal::store_ring`] gives and makes
    /// the watches again. Requests under way fail.
    ///
    /// # Errors
    /// [`Error::Absent`]; the errors of making the watches.
    pub fn resume(&self) -> Result<(), Error> {
        let (page, port) = self.hal.store_ring().ok_or(Error::Absent)?;
        self.wire.lock().replace(page, port);
        self.renew_watches()
    }

    fn renew_watches(&self) -> Result<(), Error> {
        let watches = self.wire.lock().watches();
        for (watch, path) in watches {
            self.call(Kind::WATCH, &[&path, &watch.0.to_string()], &[])?;
        }
        Ok(())
    }

    fn pump(&self, wire: &mut Wire<H::Pages>) -> Result<(), Error> {
        // What was moved before the ring broke is worth an event, too.
        let (moved, result) = wire.pump();
        if moved {
            self.hal.notify(wire.port);
        }
        result
    }
}

impl<H: Hal> Nodes for RingStore<H> {
    fn call(&self, kind: Kind, parts: &[&str], tail: &[u8]) -> Result<Vec<u8>, Error> {
        self.call_within(0, kind, parts, tail)
    }
}

impl<H: Hal> Store for RingStore<H> {
    fn call_within(&self, transaction: u32, kind: Kind, parts: &[&str], tail: &[u8]) -> Result<Vec<u8>, Error> {
        let ticket = self.submit(transaction, kind, parts, tail)?;
        self.wait(ticket)
    }

    fn watch(&self, path: &str) -> Result<WatchId, Error> {
        // Known before the daemon is, or its first event would have no place to go.
        let watch = self.wire.lock().add_watch(path);
        match self.call(Kind::WATCH, &[path, &watch.0.to_string()], &[]) {
            Ok(_) => Ok(watch),
            Err(error) => {
                self.wire.lock().remove_watch(watch);
                Err(error)
            }
        }
    }

    fn unwatch(&self, watch: WatchId) {
        let path = self.wire.lock().remove_watch(watch);
        if let Some(path) = path
            && let Ok(ticket) = self.submit(0, Kind::UNWATCH, &[&path, &watch.0.to_string()], &[])
        {
            // Nobody needs the answer; events of a watch that is not known are dropped.
            self.forget(ticket);
        }
    }

    fn take_event(&self, watch: WatchId) -> Option<String> {
        let mut wire = self.wire.lock();
        self.hal.take_event(wire.port);
        // A ring that is broken shows with the next request.
        let _ = self.pump(&mut wire);
        wire.take_event(watch)
    }

    fn port(&self) -> Option<Port> {
        Some(self.wire.lock().port)
    }

    fn reconnect(&self) -> Result<(), Error> {
        let port = {
            let mut wire = self.wire.lock();
            wire.ask_for_reconnection()?;
            wire.port
        };
        self.hal.notify(port);
        let deadline = self.hal.now() + self.wire.lock().patience;
        while !self.wire.lock().is_reconnected() {
            if self.hal.now() >= deadline {
                return Err(Error::Disconnected);
            }
            self.hal.wait(&[port], Some(self.hal.now() + NAP));
            self.hal.take_event(port);
        }
        self.wire.lock().restart();
        self.renew_watches()
    }
}

impl<H: Hal> fmt::Debug for RingStore<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingStore").finish_non_exhaustive()
    }
}
