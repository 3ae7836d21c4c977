//! The stream of messages over the ring: who waits for which answer, and which events came. Does not wait.
use crate::{Error, WatchId};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use core::time::Duration;
use pv_hal::{Memory, Port};
use pv_ring::bytes::Layout;
use xenstore_proto::{Header, Kind, PAYLOAD_MAX, append_message, fields, ring, split_message};

const REQUESTS: Layout = Layout::STORE_REQUESTS;
const REPLIES: Layout = Layout::STORE_REPLIES;
/// Events that are kept for a watch one by one; beyond them one stands for all. Another domain may cause any number.
const EVENTS_KEPT: usize = 32;

/// What became of a request.
pub(super) type Reply = Result<Vec<u8>, Error>;

#[derive(Default)]
struct Watch {
    path: String,
    events: VecDeque<String>,
}

pub(super) struct Wire<M> {
    page: M,
    pub(super) port: Port,
    pub(super) patience: Duration,
    /// What the ring has no room for yet.
    output: Vec<u8>,
    /// The beginning of a message.
    input: Vec<u8>,
    next_request: u32,
    /// Requests under way, with their answers once they are there.
    requests: BTreeMap<u32, Option<Reply>>,
    next_watch: u32,
    watches: BTreeMap<WatchId, Watch>,
    is_broken: bool,
}

impl<M: Memory> Wire<M> {
    pub(super) fn new(page: M, port: Port, patience: Duration) -> Self {
        let mut wire = Self {
            page,
            port,
            patience,
            output: Vec::new(),
            input: Vec::new(),
            next_request: 1,
            requests: BTreeMap::new(),
            next_watch: 1,
            watches: BTreeMap::new(),
            is_broken: false,
        };
        wire.skip_replies();
        wire
    }

    /// Drops answers that are not meant for us.
    fn skip_replies(&mut self) {
        let produced = self.page.load_u32(REPLIES.producer, Ordering::Acquire);
        self.page.store_u32(REPLIES.consumer, produced, Ordering::Release);
    }

    pub(super) fn submit(&mut self, kind: Kind, transaction: u32, payload: &[u8]) -> Result<u32, Error> {
        if self.is_broken {
            return Err(Error::Disconnected);
        }
        if payload.len() > PAYLOAD_MAX {
            return Err(Error::Store(xenstore_proto::Error::E2BIG));
        }
        let number = self.next_request;
        // Events have number 0.
        self.next_request = number.checked_add(1).unwrap_or(1);
        append_message(&mut self.output, kind, number, transaction, payload);
        self.requests.insert(number, None);
        Ok(number)
    }

    pub(super) fn take_reply(&mut self, number: u32) -> Option<Reply> {
        match self.requests.get(&number) {
            Some(None) => None,
            Some(Some(_)) => self.requests.remove(&number).flatten(),
            // Taken, forgotten, or lost with a connection.
            None => Some(Err(Error::Disconnected)),
        }
    }

    pub(super) fn forget(&mut self, number: u32) {
        self.requests.remove(&number);
    }

    /// Moves what can be moved, both ways. Whether anything was, so that the daemon is to be told, and how it went.
    pub(super) fn pump(&mut self) -> (bool, Result<(), Error>) {
        let mut moved = false;
        while !self.is_broken {
            match self.pump_once() {
                Ok(true) => moved = true,
                Ok(false) => return (moved, Ok(())),
                Err(error) => {
                    self.is_broken = true;
                    return (moved, Err(error));
                }
            }
        }
        (moved, Err(Error::Disconnected))
    }

    fn pump_once(&mut self) -> Result<bool, Error> {
        let broken = |_| Error::Disconnected;
        let given = REQUESTS.put(&self.page, &self.output).map_err(broken)?;
        self.output.drain(..given);
        let mut bytes = [0; REPLIES.size as usize];
        let taken = REPLIES.take(&self.page, &mut bytes).map_err(broken)?;
        self.input.extend_from_slice(&bytes[..taken]);
        self.handle_messages()?;
        Ok(given > 0 || taken > 0)
    }

    fn handle_messages(&mut self) -> Result<(), Error> {
        let input = core::mem::take(&mut self.input);
        let mut rest = &input[..];
        while let Some((header, payload)) = split_message(rest).map_err(|_| Error::Disconnected)? {
            self.handle(header, payload);
            rest = &rest[Header::SIZE + payload.len()..];
        }
        self.input = rest.to_vec();
        Ok(())
    }

    fn handle(&mut self, header: Header, payload: &[u8]) {
        if header.kind == Kind::WATCH_EVENT {
            return self.note_event(payload);
        }
        // An answer that nobody waits for is dropped, as is one that comes after its request has failed.
        if let Some(place) = self.requests.get_mut(&header.request)
            && place.is_none()
        {
            *place = Some(match header.kind {
                Kind::ERROR => Err(Error::Store(xenstore_proto::Error::from_payload(payload))),
                _ => Ok(payload.to_vec()),
            });
        }
    }

    fn note_event(&mut self, payload: &[u8]) {
        let mut parts = fields(payload);
        let (Some(path), Some(token)) = (parts.next(), parts.next()) else {
            return;
        };
        let Ok(path) = core::str::from_utf8(path) else { return };
        let number = core::str::from_utf8(token).ok().and_then(|token| token.parse().ok());
        let Some(watch) = number.and_then(|number| self.watches.get_mut(&WatchId(number))) else {
            return;
        };
        if watch.events.len() >= EVENTS_KEPT {
            watch.events.clear();
            watch.events.push_back(watch.path.clone());
        } else if !watch.events.iter().any(|known| known == path) {
            watch.events.push_back(path.into());
        }
    }

    pub(super) fn add_watch(&mut self, path: &str) -> WatchId {
        let watch = WatchId(self.next_watch);
        self.next_watch = self.next_watch.wrapping_add(1);
        let state = Watch {
            path: path.into(),
            ..Watch::default()
        };
        self.watches.insert(watch, state);
        watch
    }

    /// The path of a watch that was.
    pub(super) fn remove_watch(&mut self, watch: WatchId) -> Option<String> {
        self.watches.remove(&watch).map(|state| state.path)
    }

    pub(super) fn watches(&self) -> Vec<(WatchId, String)> {
        self.watches
            .iter()
            .map(|(&watch, state)| (watch, state.path.clone()))
            .collect()
    }

    pub(super) fn take_event(&mut self, watch: WatchId) -> Option<String> {
        self.watches.get_mut(&watch)?.events.pop_front()
    }

    /// Asks the daemon to begin anew with the ring.
    pub(super) fn ask_for_reconnection(&mut self) -> Result<(), Error> {
        let features = self.page.load_u32(ring::SERVER_FEATURES, Ordering::Acquire);
        if features & ring::FEATURE_RECONNECTION == 0 {
            return Err(Error::Disconnected);
        }
        self.is_broken = true;
        self.page
            .store_u32(ring::CONNECTION, ring::RECONNECT, Ordering::Release);
        Ok(())
    }

    pub(super) fn is_reconnected(&self) -> bool {
        self.page.load_u32(ring::CONNECTION, Ordering::Acquire) == ring::CONNECTED
    }

    /// Goes on with a ring that is empty; who waits is told.
    pub(super) fn restart(&mut self) {
        self.output.clear();
        self.input.clear();
        for place in self.requests.values_mut() {
            place.get_or_insert(Err(Error::Disconnected));
        }
        self.is_broken = false;
    }

    /// Goes on with another ring.
    pub(super) fn replace(&mut self, page: M, port: Port) {
        (self.page, self.port) = (page, port);
        self.skip_replies();
        self.restart();
    }
}
