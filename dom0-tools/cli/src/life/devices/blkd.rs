//! Starting the block backend that is a process, where a disk needs it.

use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, FdFlag, Flock, FlockArg, fcntl};

/// The backend inherits a lock on it, and so holds it for as long as it lives.
const LOCK: &str = "/run/paravane/blkd.lock";
const LOG: &str = "/var/log/paravane/blkd.log";

/// Starts `blkd` unless one that was started here runs already.
pub fn ensure() -> Result<()> {
    let Some(lock) = take_lock(Path::new(LOCK))? else {
        return Ok(());
    };
    let log = open_log().with_context(|| format!("cannot open {LOG}"))?;
    let program = find_program();
    fcntl(lock.as_fd(), FcntlArg::F_SETFD(FdFlag::empty())).context("blkd's lock cannot be handed on")?;
    let started = Command::new(&program)
        .arg("--foreground")
        .stdin(Stdio::null())
        .stdout(log.try_clone().with_context(|| format!("cannot share {LOG}"))?)
        .stderr(log)
        .current_dir("/")
        .process_group(0)
        .spawn();
    // Closed and not unlocked: the lock is the backend's from now on.
    let number = lock.as_raw_fd();
    std::mem::forget(lock);
    nix::unistd::close(number).context("blkd's lock cannot be closed")?;
    started.with_context(|| {
        format!(
            "{} cannot be started, and it is needed for files without loop devices",
            program.display()
        )
    })?;
    Ok(())
}

fn take_lock(path: &Path) -> Result<Option<Flock<File>>> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    let open = || {
        OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
    };
    let file = open().with_context(|| format!("cannot open {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(file) => Ok(Some(file)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno).with_context(|| format!("cannot lock {}", path.display())),
    }
}

fn open_log() -> std::io::Result<File> {
    if let Some(directory) = Path::new(LOG).parent() {
        fs::create_dir_all(directory)?;
    }
    OpenOptions::new().create(true).append(true).open(LOG)
}

/// The program beside xlr, or the one that is found by its name.
fn find_program() -> PathBuf {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|own| Some(own.parent()?.join("blkd")));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| "blkd".into())
}
