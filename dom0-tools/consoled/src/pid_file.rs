//! The file with the daemon's process id, which is also a lock: two daemons would steal each other's bytes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A locked file. The lock goes with the process, however it ends.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: File,
}

impl PidFile {
    /// Locks the file, or says who holds it.
    pub fn lock(path: &Path) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        if file.try_lock().is_err() {
            let mut holder = String::new();
            let _ = file.read_to_string(&mut holder);
            let text = format!("{} is held by process {}: end it first", path.display(), holder.trim());
            return Err(io::Error::other(text));
        }
        Ok(Self {
            path: path.to_owned(),
            file,
        })
    }

    /// Writes this process's id.
    pub fn write(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        writeln!(self.file, "{}", std::process::id())
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // An orderly end leaves no file behind; a lost one is found unlocked by the next daemon.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_holds_it_and_it_goes_with_its_holder() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("run/daemon.pid");
        let mut first = PidFile::lock(&path).expect("locks");
        first.write().expect("writes");
        let error = PidFile::lock(&path).expect_err("held").to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        drop(first);
        assert!(!path.exists());
        assert!(PidFile::lock(&path).is_ok());
    }
}
