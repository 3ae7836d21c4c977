//! A client: a process at the socket, or a domain at its ring.

use alloc::collections::BTreeSet;
use alloc::rc::Rc;
use alloc::vec::Vec;

use xenstore_proto::path;

use crate::access::Identity;
use crate::output::Output;
use crate::platform::Platform;
use crate::transaction::Transaction;
use crate::watch::Watch;

/// Bytes of answers and events at which no more requests are taken from a process's client.
const SOCKET_PAUSE: usize = 256 << 10;
/// Bytes of answers and events at which an event for a process's client only leaves a note.
const SOCKET_LIMIT: usize = 1 << 20;
/// The same for a domain, whose ring holds a kilobyte, and for which the journal keeps what is under way.
const RING_PAUSE: usize = 16 << 10;
const RING_LIMIT: usize = 64 << 10;

/// How a client is reached.
pub enum Link<P: Platform> {
    /// A local stream.
    Socket(P::Stream),
    /// A ring.
    Ring(Ring<P>),
}

/// A domain's ring.
pub struct Ring<P: Platform> {
    /// The shared page.
    pub page: P::Page,
    /// The daemon's end of the event channel.
    pub port: u32,
    /// Bytes that were taken from the ring and are not marked as read there yet.
    pub taken: u32,
    /// Whether the daemon has stopped to serve it for an error.
    pub broken: bool,
    /// Whether the journal holds something under way in this ring, so that the next state must go there, too.
    pub journaled: bool,
    /// The end of the output stream that the journal knows of.
    pub journaled_end: u64,
}

/// An event that found no room: path and token.
pub type Missed = (Rc<[u8]>, Rc<[u8]>);

/// A watch as its client gave it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnWatch {
    /// The absolute path.
    pub path: Rc<[u8]>,
    /// The token.
    pub token: Rc<[u8]>,
    /// Bytes of the path that the client does not see.
    pub skip: usize,
    /// Levels that count.
    pub depth: Option<u32>,
}

impl OwnWatch {
    /// Whether a change at `path` may concern it; names that are no paths are below the root, too.
    fn covers(&self, path: &[u8]) -> bool {
        *self.path == *b"/" || path::is_within(path, &self.path)
    }
}

/// A client.
pub struct Connection<P: Platform> {
    /// Who it is.
    pub identity: Identity,
    /// How it is reached.
    pub link: Link<P>,
    /// What was received and not handled: a part of a message, or messages that must wait.
    pub input: Vec<u8>,
    /// What is to be sent.
    pub output: Output,
    /// Its running transactions.
    pub transactions: Vec<Transaction>,
    /// The number to try for the next one.
    pub next_transaction: u32,
    /// Numbers of transactions below this that are unknown were lost with an earlier program.
    pub lost_below: u32,
    /// Its watches.
    pub watches: Vec<OwnWatch>,
    /// Events that found no room, by path and token: told once there is room.
    pub missed: BTreeSet<Missed>,
    /// Commits in a row that found a conflict.
    pub conflicts: u32,
    /// A request waits for another client's transaction.
    pub stalled: bool,
    /// It has something to send or to mark as read.
    pub dirty: bool,
    /// It is to be closed.
    pub closing: bool,
    /// What the loop waits for at its socket: reading, writing.
    pub interest: (bool, bool),
}

impl<P: Platform> Connection<P> {
    /// A new client.
    pub fn new(identity: Identity, link: Link<P>) -> Connection<P> {
        Connection {
            identity,
            link,
            input: Vec::new(),
            output: if identity.privileged {
                Output::default()
            } else {
                Output::counting()
            },
            transactions: Vec::new(),
            next_transaction: 1,
            lost_below: 0,
            watches: Vec::new(),
            missed: BTreeSet::new(),
            conflicts: 0,
            stalled: false,
            dirty: false,
            closing: false,
            interest: (true, false),
        }
    }

    /// Whether no more requests are taken until it has read what it was sent.
    pub fn is_paused(&self, outstanding: u64) -> bool {
        let limit = if matches!(self.link, Link::Ring(_)) {
            RING_PAUSE
        } else {
            SOCKET_PAUSE
        };
        self.output.len() >= limit || (!self.identity.privileged && self.output.unread_answers() as u64 >= outstanding)
    }

    /// The ring, if it has one.
    pub fn ring(&mut self) -> Option<&mut Ring<P>> {
        match &mut self.link {
            Link::Ring(ring) => Some(ring),
            Link::Socket(_) => None,
        }
    }

    /// Tells what found no room before, now that there is some.
    pub fn tell_missed(&mut self) {
        for (path, token) in core::mem::take(&mut self.missed) {
            self.output.event(&path, &token);
        }
    }

    /// Sends an event of one of its watches, or notes that it could not be: the client then hears of the watch's own path
    /// once it has read the rest.
    pub fn tell(&mut self, path: &[u8], watch: &Watch) {
        self.dirty = true;
        let limit = if matches!(self.link, Link::Ring(_)) {
            RING_LIMIT
        } else {
            SOCKET_LIMIT
        };
        if self.output.len() < limit {
            self.output.event(path.get(watch.skip..).unwrap_or(path), &watch.token);
            return;
        }
        let watches = self
            .watches
            .iter()
            .filter(|own| own.token == watch.token && own.covers(path));
        for own in watches {
            self.missed.insert((own.path[own.skip..].into(), own.token.clone()));
        }
    }
}
