//! The connection: requests, watches, and finding a daemon that came back.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use xenstore_proto::{Error as StoreError, Kind, append_message, append_part, fields, split_message};

use crate::transport::{Address, Transport};
use crate::{Error, Result, Store};

/// How long a client waits for a daemon that ended to come back.
const RECONNECT_TIME: Duration = Duration::from_secs(20);
/// Pause between two attempts.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);
/// How long the daemon may take for one answer.
const ANSWER_TIME: Duration = Duration::from_secs(120);

/// What the daemon answers to one request.
type Answer = std::result::Result<Vec<u8>, StoreError>;

/// A watch has fired.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// The path that changed, or the watch's own path when it was set or a part of the tree above it went.
    pub path: String,
    /// The token that the watch was set with.
    pub token: String,
}

/// A connection to xenstore.
pub struct Client {
    address: Address,
    transport: Transport,
    input: Vec<u8>,
    next_request: u32,
    events: VecDeque<Event>,
    watches: Vec<(String, String)>,
    reconnects: u64,
}

impl Client {
    /// Connects to the daemon of this domain (`XENSTORED_PATH` or its usual socket), or by the kernel's device to that
    /// of another domain.
    pub fn open() -> Result<Client> {
        Self::open_address(Address::find())
    }

    /// Connects to a daemon's socket.
    pub fn open_socket(path: impl AsRef<Path>) -> Result<Client> {
        Self::open_address(Address::Socket(path.as_ref().to_path_buf()))
    }

    /// Connects by a kernel device such as `/dev/xen/xenbus`.
    pub fn open_device(path: impl AsRef<Path>) -> Result<Client> {
        Self::open_address(Address::Device(path.as_ref().to_path_buf()))
    }

    fn open_address(address: Address) -> Result<Client> {
        let transport = address.connect().map_err(|source| Error::Unreachable {
            path: address.path().to_path_buf(),
            source,
        })?;
        Ok(Client {
            address,
            transport,
            input: Vec::new(),
            next_request: 1,
            events: VecDeque::new(),
            watches: Vec::new(),
            reconnects: 0,
        })
    }

    /// How often the connection was lost and made again.
    pub fn reconnects(&self) -> u64 {
        self.reconnects
    }

    /// Asks to be told of changes at or below `path`; the first event comes at once.
    pub fn watch(&mut self, path: &str, token: &str) -> Result<()> {
        self.exchange(Kind::WATCH, 0, &[path.as_bytes(), token.as_bytes()], &[])?;
        self.watches.push((path.to_owned(), token.to_owned()));
        Ok(())
    }

    /// Takes a watch back; events that it has already caused are dropped.
    pub fn unwatch(&mut self, path: &str, token: &str) -> Result<()> {
        self.watches.retain(|(p, t)| (p.as_str(), t.as_str()) != (path, token));
        self.exchange(Kind::UNWATCH, 0, &[path.as_bytes(), token.as_bytes()], &[])?;
        let still_used: Vec<String> = self
            .watches
            .iter()
            .filter(|(_, t)| t == token)
            .map(|(p, _)| p.clone())
            .collect();
        self.events.retain(|event| {
            event.token != token
                || still_used
                    .iter()
                    .any(|p| xenstore_proto::path::is_within(event.path.as_bytes(), p.as_bytes()))
        });
        Ok(())
    }

    /// Waits for an event, at most for `timeout`; none when the time is over.
    pub fn wait_event(&mut self, timeout: Option<Duration>) -> Result<Option<Event>> {
        let end = timeout.map(|time| Instant::now() + time);
        loop {
            if let Some(event) = self.next_event()? {
                return Ok(Some(event));
            }
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(None);
            }
            self.transport.wait(left).map_err(Error::Connection)?;
        }
    }

    /// An event that is already here, without waiting. A poll loop calls this until it gives none, and asks for the file
    /// descriptor ([`AsFd`]) anew each time round, since a reconnection changes it.
    pub fn next_event(&mut self) -> Result<Option<Event>> {
        while self.events.is_empty() && self.transport.wait(Some(Duration::ZERO)).map_err(Error::Connection)? {
            let received = self.fill_input();
            match received.and_then(|()| self.take_message()) {
                Ok(Some((kind, _, _))) => return Err(Error::Malformed(format!("an answer to no request: {kind:?}"))),
                Ok(None) => {}
                Err(error) => self.reconnect(error)?,
            }
        }
        Ok(self.events.pop_front())
    }

    /// Connects a domain's ring: its frame and the event channel that the domain has made for the daemon.
    pub fn introduce(&mut self, domain: u16, frame: u64, port: u32) -> Result<()> {
        let (domain, frame, port) = (domain.to_string(), frame.to_string(), port.to_string());
        let parts = [domain.as_bytes(), frame.as_bytes(), port.as_bytes()];
        self.exchange(Kind::INTRODUCE, 0, &parts, &[]).map(drop)
    }

    /// Disconnects a domain's ring.
    pub fn release(&mut self, domain: u16) -> Result<()> {
        self.exchange(Kind::RELEASE, 0, &[domain.to_string().as_bytes()], &[])
            .map(drop)
    }

    /// Lets the end of a domain that was shut down before be reported again.
    pub fn resume(&mut self, domain: u16) -> Result<()> {
        self.exchange(Kind::RESUME, 0, &[domain.to_string().as_bytes()], &[])
            .map(drop)
    }

    /// Gives `domain` the rights of `target`.
    pub fn set_target(&mut self, domain: u16, target: u16) -> Result<()> {
        let (domain, target) = (domain.to_string(), target.to_string());
        self.exchange(Kind::SET_TARGET, 0, &[domain.as_bytes(), target.as_bytes()], &[])
            .map(drop)
    }

    /// Whether a domain's ring is connected.
    pub fn is_introduced(&mut self, domain: u16) -> Result<bool> {
        let answer = self.exchange(Kind::IS_DOMAIN_INTRODUCED, 0, &[domain.to_string().as_bytes()], &[])?;
        Ok(answer.first() == Some(&b'T'))
    }

    /// The directory that a domain's relative paths begin at.
    pub fn domain_path(&mut self, domain: u16) -> Result<String> {
        let answer = self.exchange(Kind::GET_DOMAIN_PATH, 0, &[domain.to_string().as_bytes()], &[])?;
        Ok(text_of(&answer))
    }

    /// Sends a command to the daemon itself and gives its answer's text.
    pub fn control(&mut self, words: &[&str]) -> Result<String> {
        let parts: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        self.exchange(Kind::CONTROL, 0, &parts, &[])
            .map(|answer| text_of(&answer))
    }

    /// Drops all watches and transactions of this connection.
    pub fn reset_watches(&mut self) -> Result<()> {
        self.watches.clear();
        self.exchange(Kind::RESET_WATCHES, 0, &[b""], &[])?;
        self.events.clear();
        Ok(())
    }

    /// Sends a request and waits for its answer; outside a transaction it is repeated over a new connection when the old
    /// one is lost.
    pub(crate) fn exchange(&mut self, kind: Kind, transaction: u32, parts: &[&[u8]], tail: &[u8]) -> Result<Vec<u8>> {
        let mut payload = Vec::new();
        parts.iter().for_each(|part| append_part(&mut payload, part));
        payload.extend_from_slice(tail);
        let refused = |error| Error::Refused {
            kind,
            subject: parts
                .first()
                .map(|part| String::from_utf8_lossy(part).into_owned())
                .unwrap_or_default(),
            error,
        };
        if payload.len() > xenstore_proto::PAYLOAD_MAX {
            return Err(refused(StoreError::E2BIG));
        }
        let answer = self.persist(transaction, |client| client.attempt(kind, transaction, &payload))?;
        answer.map_err(refused)
    }

    /// Reads many nodes: their requests are under way together, so that the way to the daemon is paid for once.
    pub(crate) fn read_many(&mut self, transaction: u32, paths: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        let mut values = Vec::with_capacity(paths.len());
        for paths in paths.chunks(self.transport.requests_at_once()) {
            let payloads: Vec<Vec<u8>> = paths.iter().map(|path| [path.as_bytes(), &[0]].concat()).collect();
            let answers = self.persist(transaction, |client| {
                client.attempt_many(Kind::READ, transaction, &payloads)
            })?;
            for (path, answer) in paths.iter().zip(answers) {
                values.push(match answer {
                    Ok(value) => Some(value),
                    Err(StoreError::ENOENT) => None,
                    Err(error) => {
                        return Err(Error::Refused {
                            kind: Kind::READ,
                            subject: path.clone(),
                            error,
                        });
                    }
                });
            }
        }
        Ok(values)
    }

    /// Does something over this connection or, outside a transaction, over the next when this one is lost.
    fn persist<T>(&mut self, transaction: u32, mut attempt: impl FnMut(&mut Self) -> io::Result<T>) -> Result<T> {
        loop {
            match attempt(self) {
                Ok(value) => return Ok(value),
                Err(error) => {
                    self.reconnect(error)?;
                    if transaction != 0 {
                        return Err(Error::TransactionLost);
                    }
                }
            }
        }
    }

    /// One try over the present connection; the outer error is the connection's.
    fn attempt(&mut self, kind: Kind, transaction: u32, payload: &[u8]) -> io::Result<Answer> {
        let answers = self.attempt_many(kind, transaction, &[payload])?;
        answers
            .into_iter()
            .next()
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Sends requests together and waits for all their answers, which come in any order.
    fn attempt_many(&mut self, kind: Kind, transaction: u32, payloads: &[impl AsRef<[u8]>]) -> io::Result<Vec<Answer>> {
        let first = self.next_request;
        let mut messages = Vec::new();
        for payload in payloads {
            append_message(&mut messages, kind, self.next_request, transaction, payload.as_ref());
            self.next_request = self.next_request.wrapping_add(1);
        }
        self.transport.send(&messages)?;
        let mut answers: Vec<Option<Answer>> = vec![None; payloads.len()];
        let mut missing = payloads.len();
        while missing > 0 {
            let Some((kind, request, body)) = self.take_message()? else {
                if !self.transport.wait(Some(ANSWER_TIME))? {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                self.fill_input()?;
                continue;
            };
            // Others are answers to requests that were given up for their time.
            if let Some(place) = answers.get_mut(request.wrapping_sub(first) as usize)
                && place.is_none()
            {
                *place = Some(if kind == Kind::ERROR {
                    Err(StoreError::from_payload(&body))
                } else {
                    Ok(body)
                });
                missing -= 1;
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// Reads what the daemon has sent.
    fn fill_input(&mut self) -> io::Result<()> {
        let mut buffer = [0; 8192];
        let count = self.transport.receive(&mut buffer)?;
        self.input.extend_from_slice(&buffer[..count]);
        Ok(())
    }

    /// Takes the next answer from what was read; events on the way go to their queue.
    fn take_message(&mut self) -> io::Result<Option<(Kind, u32, Vec<u8>)>> {
        loop {
            let message = split_message(&self.input)
                .map_err(|oversized| io::Error::new(io::ErrorKind::InvalidData, format!("{oversized:?}")))?;
            let Some((header, payload)) = message else {
                return Ok(None);
            };
            let body = payload.to_vec();
            self.input.drain(..xenstore_proto::Header::SIZE + body.len());
            if header.kind != Kind::WATCH_EVENT {
                return Ok(Some((header.kind, header.request, body)));
            }
            let mut words = fields(&body).map(|word| String::from_utf8_lossy(word).into_owned());
            if let (Some(path), Some(token)) = (words.next(), words.next()) {
                self.events.push_back(Event { path, token });
            }
        }
    }

    /// Connects again and sets the watches again, or gives up with why.
    fn reconnect(&mut self, cause: io::Error) -> Result<()> {
        let lost = matches!(
            cause.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
        );
        if !lost || matches!(self.address, Address::Device(_)) {
            return Err(Error::Connection(cause));
        }
        let end = Instant::now() + RECONNECT_TIME;
        loop {
            match self.address.connect() {
                Ok(transport) => {
                    self.transport = transport;
                    self.input.clear();
                    self.reconnects += 1;
                    if self.restore_watches().is_ok() {
                        return Ok(());
                    }
                }
                Err(source) if Instant::now() >= end => {
                    return Err(Error::Unreachable {
                        path: self.address.path().to_path_buf(),
                        source,
                    });
                }
                Err(_) => {}
            }
            std::thread::sleep(RECONNECT_PAUSE);
        }
    }

    /// Sets all watches on a new connection.
    fn restore_watches(&mut self) -> io::Result<()> {
        for (path, token) in self.watches.clone() {
            let mut payload = Vec::new();
            append_part(&mut payload, path.as_bytes());
            append_part(&mut payload, token.as_bytes());
            // A path that the new daemon refuses stays without a watch: there is nobody to tell here.
            let _ = self.attempt(Kind::WATCH, 0, &payload)?;
        }
        Ok(())
    }
}

impl Store for Client {
    fn request(&mut self, kind: Kind, parts: &[&[u8]], tail: &[u8]) -> Result<Vec<u8>> {
        self.exchange(kind, 0, parts, tail)
    }

    fn read_each(&mut self, paths: &[String]) -> Result<Vec<Option<Vec<u8>>>> {
        self.read_many(0, paths)
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.transport.as_fd()
    }
}

/// An answer's text, without its zero byte.
fn text_of(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer.strip_suffix(&[0]).unwrap_or(answer)).into_owned()
}
