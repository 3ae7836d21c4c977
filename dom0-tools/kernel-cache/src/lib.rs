//! Unpacked kernels by content hash.
//!
//! Two kinds of files below the cache's directory: `HASH.kernel` is a kernel in the builder's stored form, pages of
//! zeros left out; `DEV-INODE-SIZE-MTIME-CTIME.file` holds the hash of a file that had these attributes. A warm start
//! reads neither the packed kernel nor hashes it. Both appear by renaming a finished file, so any number of processes
//! may use the cache at a time, and a crash leaves at most a temporary file behind, which the next cleaning removes.
//!
//! Everything in the cache can be made again: any damage, or a directory that cannot be written to, costs time and
//! nothing else.

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use privcmd::Mapping;

mod image;
mod unpack;
mod xz;

pub use image::{ImageError, Kernel, read_image};
pub use unpack::{UnpackError, unpack};

/// Where the cache is.
pub const DIRECTORY: &str = "/var/cache/paravane/kernels";
/// Kernels kept; the one used longest ago goes first.
const KEPT: usize = 16;
/// Largest packed kernel that is read, in bytes.
const MOST: u64 = 1 << 30;

/// Why a kernel could not be loaded.
#[derive(Debug)]
pub struct LoadError {
    path: PathBuf,
    why: Why,
}

#[derive(Debug)]
enum Why {
    Io(io::Error),
    Kernel(ImageError),
    NoFile,
    TooLong,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.why {
            Why::Io(error) => write!(f, "cannot read kernel {path}: {error}"),
            Why::Kernel(error) => write!(f, "kernel {path} cannot be started: {error}"),
            Why::NoFile => write!(f, "kernel {path} is not a regular file"),
            Why::TooLong => write!(f, "kernel {path} has more than {} MiB: is it a kernel?", MOST >> 20),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.why {
            Why::Io(error) => Some(error),
            Why::Kernel(error) => Some(error),
            Why::NoFile | Why::TooLong => None,
        }
    }
}

/// A directory of unpacked kernels.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// A cache in `directory`, usually [`DIRECTORY`], which need not exist.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// The kernel in a file: from the cache, or unpacked and put there.
    ///
    /// # Errors
    /// Why the file cannot be read, or is no kernel for a PV guest. Never for the cache's sake.
    pub fn load(&self, path: &Path) -> Result<Kernel, LoadError> {
        let fail = |why| LoadError {
            path: path.to_owned(),
            why,
        };
        let mut file = File::open(path).map_err(|error| fail(Why::Io(error)))?;
        let metadata = file.metadata().map_err(|error| fail(Why::Io(error)))?;
        if !metadata.is_file() {
            return Err(fail(Why::NoFile));
        }
        if metadata.len() > MOST {
            return Err(fail(Why::TooLong));
        }
        let note = self.note(&metadata);
        if let Some(kernel) = self.find_by_note(&note) {
            return Ok(kernel);
        }
        let mut bytes = Vec::with_capacity(metadata.len() as usize);
        file.read_to_end(&mut bytes).map_err(|error| fail(Why::Io(error)))?;
        let hash = hash(&bytes);
        let stored = self.stored(&hash);
        if let Some(kernel) = open_stored(&stored) {
            // Known under another name or time. A failure costs the next start a hash.
            let _ = self.put(&note, &[hash.as_bytes()]);
            return Ok(kernel);
        }
        let kernel = read_image(&bytes).map_err(|error| fail(Why::Kernel(error)))?;
        // A failure costs the next start the unpacking.
        let _ = self.keep(&kernel, &stored, &note, &hash);
        Ok(kernel)
    }

    /// The file that notes the hash of a kernel file.
    fn note(&self, of: &fs::Metadata) -> PathBuf {
        let name = format!(
            "{:x}-{:x}-{:x}-{:x}.{:09}-{:x}.{:09}.file",
            of.dev(),
            of.ino(),
            of.size(),
            of.mtime(),
            of.mtime_nsec(),
            of.ctime(),
            of.ctime_nsec()
        );
        self.directory.join(name)
    }

    fn stored(&self, hash: &str) -> PathBuf {
        self.directory.join(format!("{hash}.kernel"))
    }

    fn find_by_note(&self, note: &Path) -> Option<Kernel> {
        let hash = fs::read_to_string(note).ok()?;
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        open_stored(&self.stored(is_hash.then_some(&hash)?))
    }

    /// Puts a kernel into the cache, then its note.
    fn keep(&self, kernel: &Kernel, stored: &Path, note: &Path, hash: &str) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        self.clean()?;
        let (header, pages) = kernel.to_stored();
        self.put(stored, &[&header, &pages])?;
        self.put(note, &[hash.as_bytes()])
    }

    /// Writes a file under a name of its own, then gives it its name.
    fn put(&self, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
        let temporary = self.directory.join(format!("{}.new", std::process::id()));
        let write = || {
            let mut file = File::create(&temporary)?;
            for part in parts {
                file.write_all(part)?;
            }
            // Without this a crash of the machine could leave a file of the right length with other contents.
            file.sync_data()?;
            fs::rename(&temporary, path)
        };
        write().inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })
    }

    /// Makes room for one kernel: removes the oldest, notes that name none, and temporary files of the past.
    fn clean(&self) -> io::Result<()> {
        let mut kernels: Vec<(SystemTime, PathBuf)> = Vec::new();
        let mut others = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let path = entry.path();
            match path.extension().and_then(|ending| ending.to_str()) {
                Some("kernel") => kernels.push((entry.metadata()?.modified()?, path)),
                Some("file") => others.push(path),
                Some("new") if !is_running(&path) => others.push(path),
                _ => {}
            }
        }
        kernels.sort();
        let surplus = (kernels.len() + 1).saturating_sub(KEPT);
        for (_, path) in kernels.drain(..surplus) {
            fs::remove_file(path)?;
        }
        for path in others {
            let names = |hash: String| kernels.iter().any(|(_, kernel)| *kernel == self.stored(&hash));
            let is_note = path.extension().is_some_and(|ending| ending == "file");
            if !is_note || !fs::read_to_string(&path).is_ok_and(names) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

/// Does the process still run whose temporary file this is?
fn is_running(temporary: &Path) -> bool {
    let process = temporary.file_stem().unwrap_or_default();
    Path::new("/proc").join(process).exists()
}

fn open_stored(path: &Path) -> Option<Kernel> {
    let file = File::open(path).ok()?;
    let len = usize::try_from(file.metadata().ok()?.len()).ok()?;
    // Cleaning goes by this time.
    let _ = file.set_modified(SystemTime::now());
    Kernel::from_stored(Mapping::of_file_to_read(&file, len).ok()?)
}

fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

#[cfg(test)]
mod tests;
