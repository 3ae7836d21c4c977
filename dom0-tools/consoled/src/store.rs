//! The store's side, in a thread of its own: a store that is slow, or gone for a while, holds no console up.
//!
//! It follows which domains there are and where their consoles lie, tells the main loop, and writes the names of ptys.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use privcmd::DomId;
use xenstore_client::{Client, Error, Result, Store};

use crate::guest::{DEFAULT_LIMIT, MAX_LIMIT, Place};
use crate::report::report;

/// Pause before the store is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What the main loop is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// A domain has its console here; also told again when something of it changes.
    Console {
        /// Its number.
        domid: DomId,
        /// Its name, for the log.
        name: String,
        /// Page, port, limit.
        place: Place,
    },
    /// The domain is dying or gone.
    Gone(DomId),
}

impl News {
    /// Whom it is about.
    pub fn domid(&self) -> DomId {
        match self {
            Self::Console { domid, .. } | Self::Gone(domid) => *domid,
        }
    }
}

/// A pty to be written into the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tty {
    /// Whose console.
    pub domid: DomId,
    /// `/dev/pts/3`.
    pub name: String,
}

/// Which domains live, as the hypervisor knows it: all but this one that are not dying.
pub type Census = Box<dyn Fn() -> std::io::Result<Vec<DomId>> + Send>;

/// The thread's own state.
pub struct StoreThread {
    /// The hypervisor's word.
    pub census: Census,
    /// To the main loop.
    pub news: Sender<News>,
    /// From the main loop.
    pub ttys: Receiver<Tty>,
    /// A byte here wakes the other side.
    pub bell: UnixStream,
    /// Domains that are watched, or are to be once there is a connection.
    pub known: BTreeSet<DomId>,
}

impl StoreThread {
    /// Serves until the main loop is gone.
    pub fn run(mut self) {
        let mut complained = false;
        loop {
            let result = Client::open().and_then(|client| {
                complained = false;
                self.serve(client)
            });
            match result {
                Ok(()) => return,
                Err(error) if !complained => report(&format!("{error}; consoles go on, trying again")),
                Err(_) => {}
            }
            complained = true;
            std::thread::sleep(RETRY);
        }
    }

    /// One connection, and its successors as long as the client finds them. `Ok` when the main loop is gone.
    fn serve(&mut self, mut client: Client) -> Result<()> {
        client.watch("@introduceDomain", "domains")?;
        client.watch("@releaseDomain", "domains")?;
        for domid in &self.known {
            watch_domain(&mut client, *domid)?;
        }
        loop {
            // Many events of one domain are one reason to look.
            let mut tokens = BTreeSet::new();
            while let Some(event) = client.next_event()? {
                tokens.insert(event.token);
            }
            for token in &tokens {
                if !self.follow(&mut client, token)? {
                    return Ok(());
                }
            }
            if !tokens.is_empty() {
                // The requests just made may have brought events along, of which the socket says nothing any more.
                continue;
            }
            if !self.wait(&client)? {
                return Ok(());
            }
            for tty in self.ttys.try_iter() {
                write_tty(&mut client, &tty)?;
            }
        }
    }

    /// Waits for the store or the main loop. False when the main loop is gone.
    fn wait(&mut self, client: &Client) -> Result<bool> {
        let mut fds = [
            PollFd::new(client.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.bell.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(Error::Connection(error.into())),
        }
        if fds[1].any().unwrap_or(false) {
            let mut bytes = [0; 64];
            return Ok(!matches!(self.bell.read(&mut bytes), Ok(0)));
        }
        Ok(true)
    }

    /// What a watch's token stands for: all domains, or one. False when the main loop is gone.
    fn follow(&mut self, client: &mut Client, token: &str) -> Result<bool> {
        if let Ok(domid) = token.parse() {
            return if self.known.contains(&domid) {
                self.look_at(client, domid)
            } else {
                Ok(true)
            };
        }
        let living: BTreeSet<DomId> = match (self.census)() {
            Ok(list) => list.into_iter().collect(),
            Err(error) => {
                report(&format!("cannot list domains: {error}"));
                return Ok(true);
            }
        };
        for domid in self.known.difference(&living).copied().collect::<Vec<_>>() {
            self.known.remove(&domid);
            if !self.tell(News::Gone(domid)) {
                return Ok(false);
            }
            for path in watched(domid) {
                // The watch may have gone with its connection.
                let _ = client.unwatch(&path, &domid.to_string());
            }
        }
        for domid in living.difference(&self.known).copied().collect::<Vec<_>>() {
            self.known.insert(domid);
            watch_domain(client, domid)?;
        }
        Ok(true)
    }

    /// Reads where a console lies. One that is not complete yet, or another daemon's, is nothing to tell.
    fn look_at(&mut self, client: &mut Client, domid: DomId) -> Result<bool> {
        let Some(place) = read_place(client, domid)? else {
            return Ok(true);
        };
        let name = client.read_optional(&format!("/local/domain/{domid}/name"))?;
        let name = name
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| domid.to_string());
        Ok(self.tell(News::Console { domid, name, place }))
    }

    fn tell(&mut self, news: News) -> bool {
        self.news.send(news).is_ok() && self.bell.write_all(b"n").is_ok()
    }
}

/// What is watched of a domain. Not the directory: a node in it may be the guest's own, to write as often as it likes.
fn watched(domid: DomId) -> [String; 3] {
    ["console/ring-ref", "console/port", "name"].map(|node| format!("/local/domain/{domid}/{node}"))
}

/// Watches a domain's console. The first event, which comes at once, makes the loop look at it.
fn watch_domain(client: &mut Client, domid: DomId) -> Result<()> {
    watched(domid)
        .iter()
        .try_for_each(|path| client.watch(path, &domid.to_string()))
}

fn read_place(client: &mut Client, domid: DomId) -> Result<Option<Place>> {
    let mut read = |node: &str| client.read_optional(&format!("/local/domain/{domid}/console/{node}"));
    let kind = read("type")?;
    let (frame, port, limit) = (read("ring-ref")?, read("port")?, read("limit")?);
    Ok(parse_place(
        kind.as_deref(),
        frame.as_deref(),
        port.as_deref(),
        limit.as_deref(),
    ))
}

/// The console's nodes, if they are all there, sane, and meant for this daemon.
fn parse_place(kind: Option<&str>, frame: Option<&str>, port: Option<&str>, limit: Option<&str>) -> Option<Place> {
    if kind.is_some_and(|kind| kind != "xenconsoled") {
        return None;
    }
    let limit = limit.and_then(|limit| limit.parse().ok()).filter(|&limit| limit > 0);
    Some(Place {
        frame: frame?.parse().ok()?,
        port: port?.parse().ok()?,
        limit: limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT),
    })
}

/// Writes a pty's name, unless the domain's nodes are gone: a write would bring them back, for ever.
fn write_tty(client: &mut Client, tty: &Tty) -> Result<()> {
    let base = format!("/local/domain/{}/console", tty.domid);
    let result = client.transaction(|store| {
        let path = format!("{base}/tty");
        if store.exists(&format!("{base}/port"))? && store.read_optional(&path)?.as_ref() != Some(&tty.name) {
            store.write(&path, &tty.name)?;
        }
        Ok(())
    });
    match result {
        // The store refuses (a quota, say): the log goes on.
        Err(error @ Error::Refused { .. }) => {
            report(&error.to_string());
            Ok(())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_is_found_where_the_toolstack_wrote_it() {
        let place = parse_place(Some("xenconsoled"), Some("46082"), Some("2"), Some("1048576"));
        assert_eq!(
            place,
            Some(Place {
                frame: 46082,
                port: 2,
                limit: 1 << 20
            })
        );
        assert_eq!(
            parse_place(None, Some("1"), Some("2"), None).map(|place| place.limit),
            Some(DEFAULT_LIMIT)
        );
    }

    #[test]
    fn what_is_not_ours_or_not_sane_is_left_alone() {
        for (kind, frame, port) in [
            (Some("ioemu"), Some("1"), Some("2")),
            (None, None, Some("2")),
            (None, Some("1"), None),
            (None, Some("-1"), Some("2")),
            (None, Some("1"), Some("4294967296")),
            (None, Some(""), Some("2")),
        ] {
            assert_eq!(
                parse_place(kind, frame, port, None),
                None,
                "{kind:?} {frame:?} {port:?}"
            );
        }
    }

    #[test]
    fn no_limit_is_beyond_reason() {
        let limit = |text| {
            parse_place(None, Some("1"), Some("2"), Some(text))
                .expect("a place")
                .limit
        };
        assert_eq!(limit("0"), DEFAULT_LIMIT);
        assert_eq!(limit("99999999999999999999999"), DEFAULT_LIMIT);
        assert_eq!(limit("1000000000"), MAX_LIMIT);
        assert_eq!(limit("4096"), 4096);
    }
}
