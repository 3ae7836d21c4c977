//! Locks of files in `/run`, each of which says that a daemon is there.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Makes the file where it is missing, and locks it; none where another process holds it, or a signal ended the wait.
///
/// # Errors
/// The file cannot be made or locked at all.
pub fn take(path: &Path, how: FlockArg) -> Result<Option<Flock<File>>> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    }
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(false).mode(0o600);
    let file = options
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    match Flock::lock(file, how) {
        Ok(file) => Ok(Some(file)),
        Err((_, Errno::EWOULDBLOCK | Errno::EINTR)) => Ok(None),
        Err((_, errno)) => Err(errno).with_context(|| format!("cannot lock {}", path.display())),
    }
}

/// Opens a daemon's log to write behind what is there.
///
/// # Errors
/// It cannot be opened or made; the error names it.
pub fn open_log(path: &str) -> Result<File> {
    let open = || {
        if let Some(directory) = Path::new(path).parent() {
            fs::create_dir_all(directory)?;
        }
        OpenOptions::new().create(true).append(true).open(path)
    };
    open().with_context(|| format!("cannot open {path}"))
}
