//! Where things lie: the checkout, `target/` and its caches.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

/// The root of the checkout.
pub fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// Cargo's target directory, `CARGO_TARGET_DIR` respected.
pub fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Where the hypervisor image and what belongs to it are put.
pub fn image_dir() -> PathBuf {
    target().join("paravane")
}

/// A folder of the cache, made if missing. What lies in it can be deleted at any time.
pub fn cache(name: &str) -> Result<PathBuf> {
    let dir = target().join("cache").join(name);
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// A number that this process has not had before.
fn fresh_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A folder for what one process needs while it runs, removed with the value.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes an empty folder under `target/`.
    pub fn new() -> Result<Self> {
        let name = format!("run-{}-{}", std::process::id(), fresh_number());
        let dir = cache("scratch")?.join(name);
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        Ok(Self(dir))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left-overs are harmless: the next process with the same id removes them.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Reads a file, naming it in the error.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Writes a file by way of a temporary one, so that a broken run leaves no half file behind.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    // Threads may write the same file at once; the last one wins, and none leaves a mixture.
    let part = path.with_extension(format!("part{}-{}", std::process::id(), fresh_number()));
    fs::write(&part, bytes).with_context(|| format!("cannot write {}", part.display()))?;
    fs::rename(&part, path).with_context(|| format!("cannot write {}", path.display()))
}
