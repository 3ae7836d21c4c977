//! Starting the block backend that is a process, where a disk needs it.

use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, FdFlag, FlockArg, fcntl};

use crate::life::lock;

/// The backend inherits a lock on it, and so holds it for as long as it lives.
const LOCK: &str = "/run/paravane/blkd.lock";
const LOG: &str = "/var/log/paravane/blkd.log";

/// Starts `blkd` unless one that was started here runs already.
pub fn ensure() -> Result<()> {
    let Some(held) = lock::take(Path::new(LOCK), FlockArg::LockExclusiveNonblock)? else {
        return Ok(());
    };
    let log = lock::open_log(LOG)?;
    let program = find_program();
    fcntl(held.as_fd(), FcntlArg::F_SETFD(FdFlag::empty())).context("blkd's lock cannot be handed on")?;
    let started = Command::new(&program)
        .arg("--foreground")
        .stdin(Stdio::null())
        .stdout(log.try_clone().with_context(|| format!("cannot share {LOG}"))?)
        .stderr(log)
        .current_dir("/")
        .process_group(0)
        .spawn();
    // Closed and not unlocked: the lock is the backend's from now on.
    let number = held.as_raw_fd();
    std::mem::forget(held);
    nix::unistd::close(number).context("blkd's lock cannot be closed")?;
    started.with_context(|| {
        format!(
            "{} cannot be started, and it is needed for files without loop devices",
            program.display()
        )
    })?;
    Ok(())
}

/// The program beside xlr, or the one that is found by its name.
fn find_program() -> PathBuf {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|own| Some(own.parent()?.join("blkd")));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| "blkd".into())
}
