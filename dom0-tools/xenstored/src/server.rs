//! The loop: waits for clients, handles what they sent, tells the journal, and only then answers.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send};
use xenstore_core::platform::Platform;

use crate::access::Identity;
use crate::connection::{Connection, Link};
use crate::daemon::Daemon;
use crate::recovery::journal::Journal;
use crate::recovery::state;

/// Numbers of what is waited for; clients' slots come behind.
const LISTENER: u64 = 0;
const EVENTS: u64 = 1;
const FIRST_CLIENT: u64 = 2;
/// Bytes taken from a socket at a time.
const READ_SIZE: usize = 64 << 10;
/// Things that one wait can report.
const EVENT_COUNT: usize = 64;

/// The daemon with its loop.
pub struct Server {
    /// The store and its clients.
    pub daemon: Daemon,
    listener: OwnedFd,
    epoll: OwnedFd,
    journal: Option<Journal>,
    buffer: Vec<u8>,
    /// Clients with requests that can be handled at once.
    ready: Vec<usize>,
    ports: Vec<u32>,
    batch: Vec<u8>,
}

impl Server {
    /// A loop around a daemon; `listener` accepts clients. With a journal, a snapshot begins it.
    pub fn new(daemon: Daemon, listener: OwnedFd, journal: Option<Journal>) -> io::Result<Server> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            &listener,
            epoll::EventData::new_u64(LISTENER),
            epoll::EventFlags::IN,
        )?;
        if let Some(events) = daemon.host.events() {
            epoll::add(&epoll, events, epoll::EventData::new_u64(EVENTS), epoll::EventFlags::IN)?;
        }
        let mut server = Server {
            daemon,
            listener,
            epoll,
            journal,
            buffer: vec![0; READ_SIZE],
            ready: Vec::new(),
            ports: Vec::new(),
            batch: Vec::new(),
        };
        server.adopt_clients()?;
        server.take_snapshot();
        server.daemon.live.log.clear();
        Ok(server)
    }

    /// The socket that accepts clients.
    pub fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Waits at the sockets of clients that came from an earlier program, and looks at all clients once.
    fn adopt_clients(&mut self) -> io::Result<()> {
        for (slot, connection) in self.daemon.connections.iter().enumerate() {
            let Some(connection) = connection else { continue };
            if let Link::Socket(socket) = &connection.link {
                let data = epoll::EventData::new_u64(slot as u64 + FIRST_CLIENT);
                epoll::add(&self.epoll, socket, data, epoll::EventFlags::IN)?;
            }
            self.ready.push(slot);
        }
        Ok(())
    }

    /// Runs for ever, or until an update in place is asked for.
    pub fn run(&mut self) -> io::Result<()> {
        while !self.daemon.update.requested {
            self.round()?;
        }
        Ok(())
    }

    /// One round: wait, handle, tell the journal, answer.
    pub fn round(&mut self) -> io::Result<()> {
        let mut events = [epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(0),
        }; EVENT_COUNT];
        let count = match epoll::wait(&self.epoll, &mut events[..], self.timeout().as_ref()) {
            Ok(count) => count,
            Err(Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        if let Some(held) = &self.daemon.reservation
            && Platform::now(&self.daemon.host) >= held.until
        {
            self.daemon.end_reservation();
        }
        for slot in std::mem::take(&mut self.ready) {
            self.go_on(slot);
        }
        for event in &events[..count] {
            match { event.data }.u64() {
                LISTENER => self.accept_clients(),
                EVENTS => self.take_events()?,
                client => self.serve_socket((client - FIRST_CLIENT) as usize),
            }
        }
        self.finish_round();
        Ok(())
    }

    /// How long to wait: not at all while somebody's requests can be handled, until a reservation ends if there is one.
    fn timeout(&self) -> Option<Timespec> {
        if !self.ready.is_empty() {
            return Some(Timespec { tv_sec: 0, tv_nsec: 0 });
        }
        let left = self
            .daemon
            .reservation
            .as_ref()?
            .until
            .saturating_sub(Platform::now(&self.daemon.host));
        Some(Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().max(1).into(),
        })
    }

    fn accept_clients(&mut self) {
        while let Ok(socket) = accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            let slot = self
                .daemon
                .add_connection(Connection::new(Identity::privileged(), Link::Socket(socket)));
            let Some(Some(Connection {
                link: Link::Socket(socket),
                ..
            })) = self.daemon.connections.get(slot)
            else {
                continue;
            };
            let data = epoll::EventData::new_u64(slot as u64 + FIRST_CLIENT);
            if epoll::add(&self.epoll, socket, data, epoll::EventFlags::IN).is_err() {
                self.daemon.drop_connection(slot);
            }
        }
    }

    fn take_events(&mut self) -> io::Result<()> {
        let mut ports = std::mem::take(&mut self.ports);
        self.daemon.host.take_events(&mut ports)?;
        if self.daemon.host.exit_port().is_some_and(|port| ports.contains(&port)) {
            self.daemon.check_domains();
        }
        for slot in 0..self.daemon.connections.len() {
            let ring = self.daemon.client(slot).and_then(Connection::ring);
            if ring.is_some_and(|ring| ports.contains(&ring.port)) {
                self.daemon.serve_ring(slot);
                // Even if there was no request: the domain may have made room for answers.
                self.daemon.touch(slot);
            }
        }
        ports.clear();
        self.ports = ports;
        Ok(())
    }

    /// Handles requests of a client that waited for room or for another's transaction.
    fn go_on(&mut self, slot: usize) {
        let Some(connection) = self.daemon.client(slot) else {
            return;
        };
        if connection.ring().is_some() {
            return self.daemon.serve_ring(slot);
        }
        let bytes = std::mem::take(&mut connection.input);
        let done = self.daemon.handle_messages(slot, &bytes);
        self.keep(slot, bytes, done);
    }

    /// Puts back what was not handled.
    fn keep(&mut self, slot: usize, mut bytes: Vec<u8>, done: usize) {
        if let Some(connection) = self.daemon.client(slot) {
            bytes.drain(..done);
            connection.input = bytes;
        }
        self.daemon.touch(slot);
    }

    /// Reads from a socket and handles what is complete.
    fn serve_socket(&mut self, slot: usize) {
        let outstanding = self.daemon.quotas.outstanding;
        let Some(connection) = self.daemon.client(slot) else {
            return;
        };
        let paused = connection.stalled || connection.is_paused(outstanding);
        let Connection {
            link: Link::Socket(socket),
            input,
            ..
        } = connection
        else {
            return;
        };
        if paused || input.len() > READ_SIZE {
            return self.daemon.touch(slot);
        }
        let count = match recv(socket, &mut self.buffer[..], RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return self.close(slot),
            Ok((_, count)) => count,
            Err(Errno::AGAIN | Errno::INTR) => return self.daemon.touch(slot),
            Err(_) => return self.close(slot),
        };
        if input.is_empty() {
            let buffer = std::mem::take(&mut self.buffer);
            let done = self.daemon.handle_messages(slot, &buffer[..count]);
            if done < count
                && let Some(connection) = self.daemon.client(slot)
            {
                connection.input.extend_from_slice(&buffer[done..count]);
            }
            self.buffer = buffer;
            return;
        }
        let mut bytes = std::mem::take(input);
        bytes.extend_from_slice(&self.buffer[..count]);
        let done = self.daemon.handle_messages(slot, &bytes);
        self.keep(slot, bytes, done);
    }

    fn close(&mut self, slot: usize) {
        self.daemon.drop_connection(slot);
    }

    /// Tells the journal what this round has changed, then answers.
    fn finish_round(&mut self) {
        let mut touched = std::mem::take(&mut self.daemon.touched);
        let changed = !self.daemon.live.log.is_empty();
        if self.journal.is_some() {
            touched.iter().for_each(|&slot| self.daemon.log_ring(slot, changed));
            if !self.daemon.live.log.is_empty() {
                self.write_journal();
            }
        }
        self.daemon.live.log.clear();
        for slot in touched.drain(..) {
            self.flush(slot);
        }
        if self.daemon.touched.is_empty() {
            self.daemon.touched = touched;
        }
    }

    fn write_journal(&mut self) {
        let Some(journal) = &mut self.journal else { return };
        self.batch.clear();
        self.batch.extend_from_slice(&[0; 4]);
        self.batch.extend_from_slice(&self.daemon.live.log);
        match journal.append(&mut self.batch) {
            Ok(false) => {}
            Ok(true) => {
                // The snapshot is taken of what this round will have done, before anybody is told.
                self.take_snapshot();
            }
            Err(error) => {
                eprintln!("xenstored: the journal cannot be written: {error}: trying a new one");
                self.take_snapshot();
            }
        }
    }

    /// Begins the journal anew. Without one the daemon goes on, and says so.
    fn take_snapshot(&mut self) {
        let Some(journal) = &mut self.journal else { return };
        let mut records = Vec::new();
        state::put_all(&mut records, &self.daemon);
        for ring in self
            .daemon
            .connections
            .iter_mut()
            .flatten()
            .filter_map(Connection::ring)
        {
            ring.journaled = true;
        }
        if let Err(error) = journal.begin(&records) {
            eprintln!("xenstored: no journal: {error}: a sudden end would lose the store");
            journal.abandon();
        }
    }

    /// Sends what can be sent to a client.
    fn flush(&mut self, slot: usize) {
        let Some(connection) = self.daemon.client(slot) else {
            return;
        };
        connection.dirty = false;
        if connection.ring().is_some() {
            if self.daemon.flush_ring(slot) {
                self.ready.push(slot);
            }
        } else {
            self.flush_socket(slot);
        }
        if let Some(connection) = self.daemon.client(slot)
            && connection.output.is_empty()
            && !connection.missed.is_empty()
        {
            connection.tell_missed();
            self.daemon.touch(slot);
            self.ready.push(slot);
        }
    }

    fn flush_socket(&mut self, slot: usize) {
        let outstanding = self.daemon.quotas.outstanding;
        let Some(connection) = self.daemon.client(slot) else {
            return;
        };
        let Connection {
            link: Link::Socket(socket),
            output,
            ..
        } = connection
        else {
            return;
        };
        while !output.is_empty() {
            match send(&*socket, output.pending(), SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(count) => output.advance(count),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(_) => return self.close(slot),
            }
        }
        if connection.closing {
            return self.close(slot);
        }
        let paused = connection.stalled || connection.is_paused(outstanding);
        if !paused && xenstore_proto::split_message(&connection.input) != Ok(None) {
            self.ready.push(slot);
        }
        let interest = (!paused, !connection.output.is_empty());
        if interest == connection.interest {
            return;
        }
        connection.interest = interest;
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, interest.0);
        flags.set(epoll::EventFlags::OUT, interest.1);
        let data = epoll::EventData::new_u64(slot as u64 + FIRST_CLIENT);
        let Link::Socket(socket) = &connection.link else { return };
        if epoll::modify(&self.epoll, socket, data, flags).is_err() {
            self.close(slot);
        }
    }

    /// Hands over to another program; comes back only if that fails.
    pub fn update(&mut self, arguments: &[String]) {
        let update = std::mem::take(&mut self.daemon.update);
        let Some(program) = update.program else { return };
        let own: Vec<String> = match update.arguments {
            Some(line) => line.split_whitespace().map(str::to_owned).collect(),
            None => arguments.to_vec(),
        };
        let error = crate::recovery::handover::hand_over(&self.daemon, self.listener.as_fd(), program.as_ref(), &own);
        eprintln!("xenstored: {program} does not take over: {error}");
    }
}

/// Opens the socket that clients connect to, in place of one that an earlier program has left.
pub fn listen(path: &Path) -> io::Result<OwnedFd> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(listener.into())
}
