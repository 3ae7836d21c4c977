//! What the toolstack remembers of a domain, one file each in /var/lib/paravane/domains.
//!
//! A record is there before its domain is, and goes after it: whatever dies in between, the supervisor finds what to
//! clean up. Who is making a domain holds a lock on a file of the domain's own in /run/paravane/building; when the
//! maker ends, however it ends, the lock is free.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use serde::{Deserialize, Serialize};
use xenctrl::DomId;
use xl_config::{DomainConfig, Uuid};

use super::libxl_notes::LibxlNotes;
use crate::{failure, message};

/// How far a domain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Somebody makes it; without a holder of its lock it is to be cleaned up.
    Building,
    /// It lives.
    Running,
    /// It has ended and shall be made again.
    Restarting,
    /// It has ended and is kept.
    Preserved,
}

/// What is remembered of a domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its UUID, which is also its handle in the hypervisor.
    pub uuid: Uuid,
    /// Its number, once it has one.
    pub domid: Option<DomId>,
    /// How far it is.
    pub stage: Stage,
    /// The boot of Dom0 that it belongs to.
    pub boot_id: String,
    /// The configuration's file.
    pub source: String,
    /// Its configuration, with all that was chosen for it.
    pub config: DomainConfig,
    /// Configuration for its next life, where that was changed.
    pub next_config: Option<DomainConfig>,
}

/// Where records and locks are.
#[derive(Clone, Debug)]
pub struct Records {
    domains: PathBuf,
    building: PathBuf,
    libxl: LibxlNotes,
}

/// The lock of a domain that is being made; it is free when this is dropped or the process ends.
pub struct BuildLock {
    path: PathBuf,
    _file: Flock<File>,
}

impl BuildLock {
    /// Lets go of the lock and removes its file.
    pub fn release(self) {
        // A file left behind is only an empty file: the supervisor removes those it can lock.
        let _ = fs::remove_file(&self.path);
    }
}

impl Default for Records {
    fn default() -> Self {
        let mut records = Self::at(Path::new("/var/lib/paravane"), Path::new("/run/paravane"));
        // The one folder that is not ours.
        records.libxl = LibxlNotes::default();
        records
    }
}

impl Records {
    /// Records below `state`, locks below `run`, what is noted for libxl in `state/libxl`.
    pub fn at(state: &Path, run: &Path) -> Self {
        Self {
            domains: state.join("domains"),
            building: run.join("building"),
            libxl: LibxlNotes::at(&state.join("libxl")),
        }
    }

    /// What is noted for libxl.
    pub fn libxl(&self) -> &LibxlNotes {
        &self.libxl
    }

    /// Directory of the locks; a file in it is closed when a maker ends.
    pub fn building(&self) -> &Path {
        &self.building
    }

    /// Makes the directories.
    pub fn prepare(&self) -> Result<()> {
        for directory in [&self.domains, &self.building] {
            fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        }
        Ok(())
    }

    /// Takes the lock of `uuid`; none where another holds it. For the supervisor, which is woken when a lock's file that
    /// was open for writing is closed: this one is open for reading, or each look would be the reason for the next.
    pub fn lock_quietly(&self, uuid: Uuid) -> Result<Option<BuildLock>> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(OFlag::O_CREAT.bits());
        self.lock_as(uuid, &options, FlockArg::LockExclusiveNonblock)
    }

    /// Takes the lock of `uuid` as soon as whoever holds it has let go.
    pub fn wait_for_lock(&self, uuid: Uuid) -> Result<BuildLock> {
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(false);
        loop {
            if let Some(lock) = self.lock_as(uuid, &options, FlockArg::LockExclusive)? {
                return Ok(lock);
            }
        }
    }

    fn lock_as(&self, uuid: Uuid, options: &OpenOptions, how: FlockArg) -> Result<Option<BuildLock>> {
        self.prepare()?;
        let path = self.building.join(uuid.to_string());
        loop {
            let file = options
                .open(&path)
                .with_context(|| format!("cannot open {}", path.display()))?;
            match Flock::lock(file, how) {
                Ok(locked) if is_still_there(&locked, &path) => return Ok(Some(BuildLock { path, _file: locked })),
                // Its last holder removed it between our opening and our locking.
                Ok(_) => {}
                Err((_, Errno::EWOULDBLOCK | Errno::EINTR)) => return Ok(None),
                Err((_, errno)) => return Err(errno).with_context(|| format!("cannot lock {}", path.display())),
            }
        }
    }

    /// Writes a record; a reader sees the old or the new one.
    pub fn save(&self, record: &Record) -> Result<()> {
        let path = self.path(record.uuid);
        let text = serde_json::to_vec_pretty(record).context("a record cannot be written as JSON")?;
        let temporary = path.with_extension(format!("new{}", std::process::id()));
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(&text)?;
            fs::rename(&temporary, &path)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// The record of `uuid`.
    pub fn load(&self, uuid: Uuid) -> Result<Option<Record>> {
        let path = self.path(uuid);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .with_context(|| format!("{} is no record", path.display())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// The records' files.
    pub fn list(&self) -> Result<Vec<(Uuid, Metadata)>> {
        let entries = match fs::read_dir(&self.domains) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", self.domains.display())),
        };
        let mut list = Vec::new();
        for entry in entries {
            let entry = entry.context("cannot read the directory of records")?;
            let name = entry.file_name();
            let Some(uuid) = name.to_str().and_then(|name| name.strip_suffix(".json")?.parse().ok()) else {
                continue;
            };
            // One that is gone meanwhile is none.
            list.extend(entry.metadata().ok().map(|metadata| (uuid, metadata)));
        }
        Ok(list)
    }

    /// All records that can be read; what cannot is named on standard error and left.
    pub fn all(&self) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        for (uuid, _) in self.list()? {
            match self.load(uuid) {
                Ok(record) => records.extend(record),
                Err(error) => message::warn(failure::text(&error)),
            }
        }
        Ok(records)
    }

    /// The record of the domain named `name` that is, or is about to be, alive.
    pub fn by_name(&self, name: &str) -> Result<Option<Record>> {
        Ok(self.all()?.into_iter().find(|record| record.config.name == name))
    }

    /// Removes a record; none is no error.
    pub fn remove(&self, uuid: Uuid) -> Result<()> {
        let path = self.path(uuid);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// Where a record is, or would be.
    pub fn path(&self, uuid: Uuid) -> PathBuf {
        self.domains.join(format!("{uuid}.json"))
    }
}

fn is_still_there(file: &File, path: &Path) -> bool {
    let by_path = nix::sys::stat::stat(path);
    let by_file = nix::sys::stat::fstat(file.as_fd());
    matches!((by_path, by_file), (Ok(a), Ok(b)) if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))
}

/// What tells this boot of Dom0 from others: domains do not outlive it.
pub fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}
