//! What wakes the supervisor: the store's word that a domain has ended or begun, and the end of somebody who held a
//! domain's lock.

use std::os::fd::AsFd;

use anyhow::{Context, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use xenstore_client::Client;

use crate::life::record::Records;

/// Even without a word it looks at its domains so often, in milliseconds: should a word ever be lost.
const PATIENCE_MS: u16 = 30_000;
const TOKEN: &str = "xlr-supervise";

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
        store.watch("@releaseDomain", TOKEN)?;
        store.watch("@introduceDomain", TOKEN)?;
        Ok(Self { locks })
    }

    /// Waits for a reason to look; takes all that are there.
    pub fn wait(&mut self, store: &mut Client) -> Result<()> {
        let mut woken = self.take(store)?;
        while !woken {
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
            woken = self.take(store)? || ready == 0;
        }
        Ok(())
    }

    /// Takes all reasons to look that have come; whether there were any.
    pub fn take(&mut self, store: &mut Client) -> Result<bool> {
        let mut woken = false;
        while store.next_event()?.is_some() {
            woken = true;
        }
        loop {
            match self.locks.read_events() {
                Ok(events) => woken |= !events.is_empty(),
                Err(nix::errno::Errno::EAGAIN) => return Ok(woken),
                Err(errno) => return Err(errno).context("inotify"),
            }
        }
    }
}
