//! One guest's console: ring, event channel, pty, log, and what it may cost.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use privcmd::{DomId, Port};

use crate::allowance::Allowance;
use crate::backlog::{Backlog, Overflow};
use crate::log::{self, Log, Style};
use crate::pty::Pty;
use crate::readiness::Interest;
use crate::report::report;
use crate::ring::{Corrupt, Ring};
use crate::wire::Wire;

/// How long a dead guest's pty waits for somebody who reads what is left, counted from the last byte read.
const LINGER: Duration = Duration::from_secs(5);
/// While a guest prints, its ring is looked at this often instead of for each event: Linux sends one with every 16 bytes.
const LOOK: Duration = Duration::from_millis(3);
/// A backlog's limit where the store has none, or none that is sane.
pub const DEFAULT_LIMIT: usize = 1 << 20;
/// The largest limit that the store can set.
pub const MAX_LIMIT: usize = 16 << 20;

/// What is the same for all guests.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Where logs go, if guests are logged.
    pub log_dir: Option<PathBuf>,
    /// How logs are written.
    pub style: Style,
    /// What becomes of output that nobody reads.
    pub overflow: Overflow,
    /// Bytes a second that a guest may print for long.
    pub rate: u64,
    /// Bytes that it may print at once.
    pub burst: u64,
}

/// Where the store says that a guest's console is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The page's frame.
    pub frame: u64,
    /// The guest's port.
    pub port: Port,
    /// Bytes of backlog.
    pub limit: usize,
}

/// The living connection.
#[derive(Debug)]
struct Link<P> {
    place: Place,
    ring: Ring<P>,
    port: Port,
    /// When the ring is looked at next, the port staying masked: the guest is printing, or has used up its allowance.
    held: Option<Instant>,
    /// When it last printed.
    printed: Option<Instant>,
    /// The backlog is full and must be kept: the port stays masked until somebody reads.
    waits_for_reader: bool,
    /// The last complaint about the ring, so that it is made once.
    corrupt: Option<Corrupt>,
}

/// One guest's console.
#[derive(Debug)]
pub struct Guest<P> {
    domid: DomId,
    name: String,
    link: Option<Link<P>>,
    pty: Option<Pty>,
    backlog: Backlog,
    log: Option<Log>,
    log_fails: bool,
    allowance: Allowance,
    policy: Policy,
    /// Set once the guest is dead: when to close the pty.
    closes: Option<Instant>,
}

impl<P: crate::ring::SharedPage> Guest<P> {
    /// A guest whose console is not connected yet. `name` is for the log.
    pub fn new(domid: DomId, name: String, policy: Policy, now: Instant) -> Self {
        let allowance = Allowance::new(policy.rate, policy.burst, now);
        let backlog = Backlog::new(DEFAULT_LIMIT, policy.overflow);
        Self {
            domid,
            name,
            link: None,
            pty: None,
            backlog,
            log: None,
            log_fails: false,
            allowance,
            policy,
            closes: None,
        }
    }

    /// The domain's number.
    pub fn domid(&self) -> DomId {
        self.domid
    }

    /// The port that events of this guest come by.
    pub fn port(&self) -> Option<Port> {
        self.link.as_ref().map(|link| link.port)
    }

    /// The pty's name, once there is one.
    pub fn tty(&self) -> Option<&str> {
        self.pty.as_ref().map(Pty::name)
    }

    /// Connects to the console at `place`, or moves there. What is in the ring is served at once.
    pub fn connect(&mut self, wire: &impl Wire<Page = P>, place: Place, now: Instant) -> io::Result<()> {
        self.backlog.set_limit(place.limit);
        if let Some(link) = &mut self.link
            && (link.place.frame, link.place.port) == (place.frame, place.port)
        {
            link.place = place;
            return Ok(());
        }
        self.disconnect(wire);
        let ring = Ring::new(wire.map(self.domid, place.frame)?);
        let port = wire.bind(self.domid, place.port)?;
        self.link = Some(Link {
            place,
            ring,
            port,
            held: None,
            printed: None,
            waits_for_reader: false,
            corrupt: None,
        });
        if self.pty.is_none() {
            // Without a pty (too many, no devpts) the log still goes on.
            match Pty::open() {
                Ok(pty) => self.pty = Some(pty),
                Err(error) => report(&format!("domain {}: no pty: {error}", self.domid)),
            }
        }
        self.open_log();
        self.serve(wire, now);
        // Somebody may have been waiting for room in the input since before this daemon was started.
        wire.notify(port);
        Ok(())
    }

    /// Takes a new name: the log goes on under it from the next opening.
    pub fn rename(&mut self, name: String) {
        self.name = name;
    }

    /// Opens the log under the guest's present name, after its file was moved away.
    pub fn reopen_log(&mut self) {
        self.log = None;
        if self.link.is_some() {
            self.open_log();
        }
    }

    fn open_log(&mut self) {
        let Some(dir) = &self.policy.log_dir else { return };
        if self.log.is_some() {
            return;
        }
        let path = dir.join(format!("guest-{}.log", log::file_name(&self.name)));
        match Log::open(path.clone(), self.policy.style) {
            Ok(log) => self.log = Some(log),
            Err(error) => report(&format!(
                "domain {}: cannot log to {}: {error}",
                self.domid,
                path.display()
            )),
        }
    }

    /// After an event, or when it may go on: takes what the guest has printed, at most one ring full.
    pub fn serve(&mut self, wire: &impl Wire<Page = P>, now: Instant) {
        let Some(link) = &mut self.link else { return };
        if let Some(until) = self.allowance.wait_until(now) {
            link.held = Some(until);
            return;
        }
        link.held = None;
        link.waits_for_reader = self.backlog.is_full();
        if link.waits_for_reader {
            return;
        }
        let port = link.port;
        let taken = self.take();
        self.allowance.pay(taken, now);
        if taken > 0 {
            wire.notify(port);
        }
        if !self.looks_again(taken, now) {
            wire.unmask(port);
        }
        self.write_pty(now);
    }

    /// Whether the guest prints so much that its port is better left masked until the next look. A single event, as
    /// after a key was typed, is answered at once.
    fn looks_again(&mut self, taken: usize, now: Instant) -> bool {
        let Some(link) = &mut self.link else { return false };
        if taken == 0 {
            return false;
        }
        let before = link.printed.replace(now);
        let again = before.is_some_and(|before| now.saturating_duration_since(before) <= 2 * LOOK);
        link.held = again.then(|| now + LOOK);
        again
    }

    /// Moves what is in the ring to log and backlog; the number of bytes. The ring gets its room back only after the
    /// log was written: a crash in between writes these bytes twice, but never loses them.
    fn take(&mut self) -> usize {
        let Some(link) = &mut self.link else { return 0 };
        let mut bytes = Vec::new();
        match link.ring.peek(&mut bytes) {
            Ok(_) => link.corrupt = None,
            Err(error) => {
                if link.corrupt.is_none() {
                    report(&format!(
                        "domain {}: {error}; its output is ignored until it mends this",
                        self.domid
                    ));
                }
                link.corrupt = Some(error);
            }
        }
        if bytes.is_empty() {
            return 0;
        }
        self.write_log(&bytes);
        if self.pty.is_some() {
            self.backlog.push(&bytes);
        }
        if let Some(link) = &self.link {
            link.ring.release(bytes.len());
        }
        bytes.len()
    }

    /// A log that cannot be written (a full disk) does not stop the guest; it is tried again with the next output.
    fn write_log(&mut self, bytes: &[u8]) {
        let Some(log) = &mut self.log else { return };
        match log.write(bytes) {
            Ok(()) => self.log_fails = false,
            Err(error) => {
                if !self.log_fails {
                    report(&format!(
                        "domain {}: {}: {error}; output is lost",
                        self.domid,
                        log.path().display()
                    ));
                }
                self.log_fails = true;
            }
        }
    }

    /// Writes what the pty takes. A dead guest's pty stays while somebody reads.
    pub fn write_pty(&mut self, now: Instant) {
        let Some(pty) = &mut self.pty else { return };
        match self.backlog.write_to(pty.output()) {
            Ok(true) if self.closes.is_some() => self.closes = Some(now + LINGER),
            Ok(_) => {}
            Err(error) => {
                report(&format!(
                    "domain {}: {}: {error}; its pty is closed",
                    self.domid,
                    pty.name()
                ));
                self.pty = None;
            }
        }
    }

    /// Gives the guest what a person typed, as far as its ring has room.
    pub fn read_pty(&mut self, wire: &impl Wire<Page = P>) {
        let room = self.input_room();
        let (Some(pty), Some(link)) = (&mut self.pty, &self.link) else {
            return;
        };
        let mut typed = vec![0; room];
        match pty.read(&mut typed) {
            Ok(0) => {}
            // The room cannot have shrunk, unless the guest breaks its ring: then it loses what was typed.
            Ok(count) => {
                if link.ring.put(&typed[..count]).is_ok() {
                    wire.notify(link.port);
                }
            }
            Err(error) => {
                report(&format!(
                    "domain {}: {}: {error}; its pty is closed",
                    self.domid,
                    pty.name()
                ));
                self.pty = None;
            }
        }
    }

    fn input_room(&self) -> usize {
        self.link.as_ref().and_then(|link| link.ring.room().ok()).unwrap_or(0)
    }

    /// The pty and what to wait for there: input that the guest has room for, room for output.
    pub fn interest(&self) -> Option<(BorrowedFd<'_>, Interest)> {
        let pty = self.pty.as_ref()?;
        let (read, write) = (self.input_room() > 0, !self.backlog.is_empty());
        Some((pty.as_fd(), Interest { read, write }))
    }

    /// When to call [`Guest::tick`] even if nothing happens.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let held = self.link.as_ref().and_then(|link| link.held);
        // A dead guest's pty tells nothing when it is read empty: look.
        let look = self.closes.map(|closes| closes.min(now + Duration::from_millis(100)));
        [held, look].into_iter().flatten().min()
    }

    /// Goes on where it was held back.
    pub fn tick(&mut self, wire: &impl Wire<Page = P>, now: Instant) {
        let Some(link) = &self.link else { return };
        let due = link.held.is_some_and(|until| until <= now);
        if due || (link.waits_for_reader && !self.backlog.is_full()) {
            self.serve(wire, now);
        }
    }

    fn disconnect(&mut self, wire: &impl Wire<Page = P>) {
        if let Some(link) = self.link.take() {
            wire.unbind(link.port);
        }
    }

    /// The guest is dead: takes its last words, whatever it has printed before, and lets go of its memory. The pty
    /// stays a moment for who reads there.
    pub fn bury(&mut self, wire: &impl Wire<Page = P>, now: Instant) {
        // It writes no more, so its ring is empty after one look.
        self.take();
        self.disconnect(wire);
        self.closes = Some(now + LINGER);
        self.write_pty(now);
    }

    /// Whether nothing is left to do for a dead guest.
    pub fn is_over(&self, now: Instant) -> bool {
        let Some(closes) = self.closes else { return false };
        let Some(pty) = &self.pty else { return true };
        let read = self.backlog.is_empty() && !pty.has_unread().unwrap_or(false);
        read || closes <= now
    }
}

#[cfg(test)]
mod tests;
