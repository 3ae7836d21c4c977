//! What wakes the supervisor: the store's word that a domain has ended, and the end of somebody who held a domain's
//! lock.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use xenstore_client::Client;
use xl_config::Uuid;

use crate::life::record::Records;

/// Even without a word it looks at its domains so often, in milliseconds: should a word ever be lost.
const PATIENCE_MS: u16 = 30_000;
const TOKEN: &str = "xlr-supervise";

/// Why to look, and where: with hundreds of domains, a look at all of them for each that begins would cost more than its
/// making.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons {
    /// At all domains.
    pub all: bool,
    /// At those whose locks somebody has let go of.
    pub locks: BTreeSet<Uuid>,
}

impl Reasons {
    /// A look at everything.
    pub fn everything() -> Self {
        Self {
            all: true,
            locks: BTreeSet::new(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        !self.all && self.locks.is_empty()
    }
}

/// The supervisor's ears.
pub struct Wakeup {
    locks: Inotify,
}

impl Wakeup {
    /// Listens from now on.
    pub fn new(records: &Records, store: &mut Client) -> Result<Self> {
        records.prepare()?;
        let locks = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).context("no inotify")?;
        // A lock's file is opened for writing: it is closed when its holder lets go or is killed.
        let watched = locks.add_watch(records.building(), AddWatchFlags::IN_CLOSE_WRITE);
        watched.with_context(|| format!("cannot watch {}", records.building().display()))?;
        // A domain's beginning is told by its lock.
        store.watch("@releaseDomain", TOKEN)?;
        Ok(Self { locks })
    }

    /// Waits for reasons to look; takes all that are there.
    pub fn wait(&mut self, store: &mut Client) -> Result<Reasons> {
        let mut reasons = self.take(store)?;
        while reasons.is_empty() {
            let ready = {
                let mut fds = [
                    PollFd::new(store.as_fd(), PollFlags::POLLIN),
                    PollFd::new(self.locks.as_fd(), PollFlags::POLLIN),
                ];
                match poll(&mut fds, PollTimeout::from(PATIENCE_MS)) {
                    Err(nix::errno::Errno::EINTR) => continue,
                    other => other.context("poll")?,
                }
            };
            reasons = self.take(store)?;
            reasons.all |= ready == 0;
        }
        Ok(reasons)
    }

    /// Takes all reasons to look that have come.
    pub fn take(&mut self, store: &mut Client) -> Result<Reasons> {
        let mut reasons = Reasons::default();
        while store.next_event()?.is_some() {
            reasons.all = true;
        }
        loop {
            match self.locks.read_events() {
                Ok(events) => events.iter().for_each(|event| {
                    let name = event.name.as_ref().and_then(|name| name.to_str()?.parse().ok());
                    match name {
                        Some(uuid) => drop(reasons.locks.insert(uuid)),
                        // The kernel has lost some, or somebody plays with the folder.
                        None => reasons.all = true,
                    }
                }),
                Err(nix::errno::Errno::EAGAIN) => return Ok(reasons),
                Err(errno) => return Err(errno).context("inotify"),
            }
        }
    }
}
