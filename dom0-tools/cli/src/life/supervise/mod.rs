//! The supervisor: one daemon that keeps on_poweroff, on_reboot and on_crash, and cleans up after those who died.
//!
//! It has no state of its own but copies of records. Those and the hypervisor's list say what there is to do, each time
//! anew: started again after any end, it goes on where the last one stopped.

mod act;
mod decide;
mod known;
mod wakeup;

pub use act::look;
pub use known::Known;
pub use wakeup::{Reasons, Wakeup};

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};
use xenstore_client::Client;

use super::record::Records;
use super::{Tools, lock};

/// Who holds a lock on it is the supervisor.
const LOCK: &str = "/run/paravane/supervise.lock";
/// Where a supervisor that nobody watches writes to.
const LOG: &str = "/var/log/paravane/supervise.log";
/// How long a supervisor may take to come up.
const START_TIME: Duration = Duration::from_secs(10);

/// Holds the supervisor's place.
pub struct Place {
    file: Flock<File>,
}

impl Place {
    /// Writes this process's number where who started it looks for it.
    pub fn sign(&mut self) -> Result<()> {
        self.file
            .set_len(0)
            .and_then(|()| write!(self.file, "{}", std::process::id()))
            .context("the supervisor's lock")
    }
}

/// Takes the supervisor's place; none where there is one already.
pub fn take_place() -> Result<Option<Place>> {
    take_place_at(Path::new(LOCK), FlockArg::LockExclusiveNonblock)
}

/// As [`take_place`], over the moments in which another only looks whether the place is free.
pub fn take_place_soon() -> Result<Option<Place>> {
    for _ in 0..100 {
        if let Some(place) = take_place()? {
            return Ok(Some(place));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(None)
}

/// Takes the supervisor's place as soon as it is free.
pub fn wait_for_place() -> Result<Place> {
    loop {
        if let Some(place) = take_place_at(Path::new(LOCK), FlockArg::LockExclusive)? {
            return Ok(place);
        }
    }
}

fn take_place_at(path: &Path, how: FlockArg) -> Result<Option<Place>> {
    Ok(lock::take(path, how)?.map(|file| Place { file }))
}

/// Starts a supervisor where there is none.
pub fn ensure() -> Result<()> {
    if take_place()?.is_none() {
        return Ok(());
    }
    start()
}

/// Starts a supervisor in the background and waits until it, or another, has its place.
pub fn start() -> Result<()> {
    let log = lock::open_log(LOG)?;
    let program = std::env::current_exe().context("xlr does not know its own path")?;
    let mut child = Command::new(program)
        .args(["supervise", "--foreground", "--detach"])
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("the supervisor's log")?)
        .stderr(log)
        .current_dir("/")
        .spawn()
        .context("the supervisor cannot be started")?;
    let end = Instant::now() + START_TIME;
    // Looking into the file disturbs nobody; trying the lock would.
    while fs::read_to_string(LOCK).is_ok_and(|pid| pid != child.id().to_string()) {
        if let Ok(Some(status)) = child.try_wait() {
            anyhow::ensure!(status.success(), "the supervisor ended at once ({status}); see {LOG}");
            return Ok(());
        }
        anyhow::ensure!(
            Instant::now() < end,
            "the supervisor did not start within 10 s; see {LOG}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Does the supervisor's work until an error ends it. The caller holds the place.
pub fn run(tools: Tools<'_>, store: &mut Client) -> Result<()> {
    let mut wakeup = Wakeup::new(tools.records, store)?;
    let mut known = Known::default();
    let mut reasons = Reasons::everything();
    loop {
        look(tools, store, &mut known, &reasons);
        reasons = wakeup.wait(store)?;
    }
}

/// Removes locks of makers who died before their record was there.
pub(super) fn remove_stale_locks(records: &Records) {
    let Ok(entries) = fs::read_dir(records.building()) else {
        return;
    };
    for entry in entries.flatten() {
        let Some(uuid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let (Ok(None), Ok(Some(lock))) = (records.load(uuid), records.lock_quietly(uuid)) {
            lock.release();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_place() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("run/lock");
        let take = || take_place_at(&path, FlockArg::LockExclusiveNonblock).expect("a lock");
        let place = take().expect("free");
        assert!(take().is_none());
        drop(place);
        assert!(take().is_some());
    }
}
