//! A daemon without a loop: requests go in by hand, answers and events come out.
#![allow(dead_code, unreachable_pub)]

pub mod process;

use std::os::unix::net::UnixStream;

use xenstore_proto::{Error, Kind, append_message, split_message};
use xenstored::access::{Holder, Identity};
use xenstored::connection::{Connection, Link};
use xenstored::daemon::{Daemon, Domain};
use xenstored::host::Nothing;
use xenstored::quota::Quotas;

/// An answer: its kind, and its payload.
pub type Answer = (Kind, Vec<u8>);

/// The daemon.
pub struct Rig {
    pub daemon: Daemon,
}

impl Rig {
    pub fn new() -> Rig {
        let mut daemon = Daemon::new(Box::new(Nothing::default()), Quotas::default());
        daemon.make_first_nodes();
        Rig { daemon }
    }

    /// A client of domain 0.
    pub fn privileged(&mut self) -> usize {
        self.add(Identity::privileged())
    }

    /// A client of another domain.
    pub fn guest(&mut self, domain: u16) -> usize {
        let since = self.daemon.next_generation();
        let known = Domain {
            since,
            shutdown: false,
            ring: None,
            target: None,
        };
        self.daemon.domains.entry(domain).or_insert(known);
        let since = self.daemon.domains[&domain].since;
        self.add(Identity {
            holder: Holder { domain, since },
            target: None,
            privileged: false,
        })
    }

    fn add(&mut self, identity: Identity) -> usize {
        let (socket, _) = UnixStream::pair().unwrap();
        self.daemon
            .add_connection(Connection::new(identity, Link::Socket(socket.into())))
    }

    /// Sends bytes; gives how many were handled.
    pub fn send(&mut self, client: usize, bytes: &[u8]) -> usize {
        self.daemon.handle_messages(client, bytes)
    }

    /// Takes everything that a client would be sent.
    pub fn receive(&mut self, client: usize) -> Vec<Answer> {
        let Some(connection) = self.daemon.client(client) else {
            return Vec::new();
        };
        let bytes = connection.output.pending().to_vec();
        connection.output.advance(bytes.len());
        connection.dirty = false;
        let mut answers = Vec::new();
        let mut rest = &bytes[..];
        while let Some((header, payload)) = split_message(rest).expect("the daemon keeps to the limit") {
            answers.push((header.kind, payload.to_vec()));
            rest = &rest[16 + payload.len()..];
        }
        assert!(rest.is_empty(), "whole messages only");
        answers
    }

    /// One request and its answer; events before and after it are left out.
    pub fn call(&mut self, client: usize, kind: Kind, transaction: u32, payload: &[u8]) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        append_message(&mut bytes, kind, 7, transaction, payload);
        assert_eq!(self.send(client, &bytes), bytes.len());
        let answers = self.receive(client);
        let mut answers = answers.into_iter().filter(|(kind, _)| *kind != Kind::WATCH_EVENT);
        let (answered, body) = answers.next().expect("an answer");
        assert!(answers.next().is_none(), "one answer");
        if answered == Kind::ERROR {
            return Err(Error::from_payload(&body));
        }
        assert_eq!(answered, kind);
        Ok(body)
    }

    pub fn write(&mut self, client: usize, transaction: u32, path: &str, value: &str) -> Result<(), Error> {
        self.call(client, Kind::WRITE, transaction, format!("{path}\0{value}").as_bytes())
            .map(drop)
    }

    pub fn read(&mut self, client: usize, transaction: u32, path: &str) -> Result<String, Error> {
        let value = self.call(client, Kind::READ, transaction, format!("{path}\0").as_bytes())?;
        Ok(String::from_utf8(value).unwrap())
    }

    pub fn remove(&mut self, client: usize, transaction: u32, path: &str) -> Result<(), Error> {
        self.call(client, Kind::RM, transaction, format!("{path}\0").as_bytes())
            .map(drop)
    }

    pub fn permit(&mut self, client: usize, path: &str, list: &[&str]) -> Result<(), Error> {
        self.call(
            client,
            Kind::SET_PERMS,
            0,
            format!("{path}\0{}\0", list.join("\0")).as_bytes(),
        )
        .map(drop)
    }

    pub fn start(&mut self, client: usize) -> Result<u32, Error> {
        let id = self.call(client, Kind::TRANSACTION_START, 0, b"\0")?;
        Ok(xenstore_proto::parse_number(&id) as u32)
    }

    pub fn end(&mut self, client: usize, transaction: u32, commit: bool) -> Result<(), Error> {
        let word: &[u8] = if commit { b"T\0" } else { b"F\0" };
        self.call(client, Kind::TRANSACTION_END, transaction, word).map(drop)
    }

    pub fn watch(&mut self, client: usize, path: &str, token: &str) -> Result<(), Error> {
        self.call(client, Kind::WATCH, 0, format!("{path}\0{token}\0").as_bytes())
            .map(drop)
    }

    /// The paths of the events that a client would be sent.
    pub fn events(&mut self, client: usize) -> Vec<String> {
        let events = self
            .receive(client)
            .into_iter()
            .filter(|(kind, _)| *kind == Kind::WATCH_EVENT);
        events
            .map(|(_, body)| String::from_utf8(body.split(|&b| b == 0).next().unwrap().to_vec()).unwrap())
            .collect()
    }

    /// The daemon's own check of its counts.
    pub fn check(&mut self, client: usize) {
        assert_eq!(
            self.call(client, Kind::CONTROL, 0, b"check\0").as_deref(),
            Ok(&b"OK\0"[..])
        );
    }
}
