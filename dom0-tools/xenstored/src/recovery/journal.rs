//! The journal: what brings the store back when the daemon ended without warning.
//!
//! A file in memory (`/run`) or on disk, never synced: it has to survive the daemon, not the machine, whose end is the
//! end of all domains. It begins with a snapshot; each round of the daemon's loop appends one batch before any answer of
//! that round goes out, so what a client was told is in it. A batch that was cut off is as if it had not happened.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Begins the file; the last byte is the layout's number.
const MAGIC: &[u8; 8] = b"PVSTORE\x01";
/// The log is folded into a new snapshot when it is this much longer than the snapshot, in bytes and in multiples.
const SLACK: u64 = 1 << 20;
const MULTIPLE: u64 = 3;

/// An open journal.
pub struct Journal {
    path: PathBuf,
    file: Option<File>,
    snapshot: u64,
    appended: u64,
}

/// Names this boot of the machine: a journal of an earlier one is worthless.
fn boot_name() -> Vec<u8> {
    let mut name = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    name.resize(40, b' ');
    name
}

impl Journal {
    /// The journal below a directory; nothing is written yet.
    pub fn new(directory: &Path) -> Journal {
        Journal {
            path: directory.join("journal"),
            file: None,
            snapshot: 0,
            appended: 0,
        }
    }

    /// The batches of an earlier program, if it left a journal during this boot.
    pub fn read(&self) -> io::Result<Option<Vec<Vec<u8>>>> {
        let mut bytes = Vec::new();
        match File::open(&self.path) {
            Ok(mut file) => file.read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let head = [&MAGIC[..], &boot_name()].concat();
        let Some(mut rest) = bytes.strip_prefix(&head[..]) else {
            return Ok(None);
        };
        let mut batches = Vec::new();
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*length) as usize;
            let Some((batch, tail)) = tail.split_at_checked(length) else {
                break;
            };
            batches.push(batch.to_vec());
            rest = tail;
        }
        Ok(if batches.is_empty() { None } else { Some(batches) })
    }

    /// Begins anew with a snapshot.
    pub fn begin(&mut self, snapshot: &[u8]) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&new)?;
        let length = (snapshot.len() as u32).to_le_bytes();
        file.write_all(&[&MAGIC[..], &boot_name(), &length].concat())?;
        file.write_all(snapshot)?;
        std::fs::rename(&new, &self.path)?;
        self.file = Some(file);
        self.snapshot = snapshot.len() as u64;
        self.appended = 0;
        Ok(())
    }

    /// Appends a batch, which `frame` begins with four bytes left free for its length. True when it is time for a new
    /// snapshot.
    pub fn append(&mut self, batch: &mut [u8]) -> io::Result<bool> {
        let length = (batch.len() - 4) as u32;
        batch[..4].copy_from_slice(&length.to_le_bytes());
        if let Some(file) = &mut self.file {
            file.write_all(batch)?;
        }
        self.appended += batch.len() as u64;
        Ok(self.appended > SLACK + MULTIPLE * self.snapshot)
    }

    /// Writes no more, since it cannot be trusted: after an error.
    pub fn abandon(&mut self) {
        self.file = None;
        // A wrong journal is worse than none. If it cannot be removed either, its boot's end makes it void.
        let _ = std::fs::remove_file(&self.path);
    }
}
