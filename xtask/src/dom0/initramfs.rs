//! Dom0's initial RAM disk: busybox, kernel modules and an init, in two archives. The first is the same for
//! every run and cached; the second holds what one run adds.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::cpio::Archive;
use super::{modules, payload};
use crate::command;
use crate::setup::kernel::Kernel;
use crate::{setup, workspace};

const INIT: &[u8] = include_bytes!("init.sh");

/// What one run adds to the RAM disk.
#[derive(Debug, Default)]
pub struct Additions {
    /// Run this in the place of a shell, between lines that begin with the mark.
    pub command: Option<(String, String)>,
    /// Further files: path below `/paravane`, content. All are executable.
    pub files: Vec<(String, Vec<u8>)>,
}

/// The RAM disk as bytes.
pub fn build(kernel: &Kernel, additions: &Additions) -> Result<Vec<u8>> {
    let mut disk = workspace::read(&base(kernel)?)?;
    let mut archive = Archive::new();
    archive.folder("paravane");
    if let Some((command, mark)) = &additions.command {
        archive.file("paravane/command", 0o644, format!("{command}\n").as_bytes());
        archive.file("paravane/mark", 0o644, format!("{mark}\n").as_bytes());
    }
    for (name, content) in &additions.files {
        archive.file(&format!("paravane/{name}"), 0o755, content);
    }
    disk.extend(archive.finish());
    Ok(disk)
}

/// The archive that all runs with one kernel share.
fn base(kernel: &Kernel) -> Result<PathBuf> {
    let busybox = setup::busybox()?;
    // Anything the archive is made of is part of its name.
    let mut key = INIT.to_vec();
    key.extend(workspace::read(&busybox)?);
    key.extend(kernel.version.as_bytes());
    key.extend(kernel.modules.iter().flat_map(|dir| dir.as_os_str().as_encoded_bytes()));
    key.extend(include_bytes!("initramfs.rs"));
    key.extend(include_bytes!("modules.rs"));
    let cached = workspace::cache("initramfs")?.join(payload::content_hash(&key));
    if cached.is_file() {
        return Ok(cached);
    }
    let mut archive = Archive::new();
    for folder in ["bin", "dev", "etc", "lib", "mnt", "proc", "root", "sys", "tmp"] {
        archive.folder(folder);
    }
    archive.char_device("dev/console", 5, 1);
    archive.file("init", 0o755, INIT);
    archive.file("bin/busybox", 0o755, &workspace::read(&busybox)?);
    for applet in command::capture(Command::new(&busybox).arg("--list"))?
        .lines()
        .filter(|&name| name != "busybox")
    {
        archive.symlink(&format!("bin/{applet}"), "busybox");
    }
    archive.symlink("sbin", "bin");
    // busybox's mount tries these where no type is given; the kernel loads the module.
    archive.file("etc/filesystems", 0o644, b"ext4\n");
    if let Some(dir) = &kernel.modules {
        let set = modules::collect(dir)?;
        let base = format!("lib/modules/{}", kernel.version);
        archive.folders(&base);
        for module in set.values() {
            let path = format!("{base}/{}", module.path);
            archive.folders(path.rsplit_once('/').map_or(&base, |(folder, _)| folder));
            archive.file(&path, 0o644, &module.object);
        }
        archive.file(
            &format!("{base}/modules.dep"),
            0o644,
            modules::dependency_index(&set).as_bytes(),
        );
        archive.file(
            &format!("{base}/modules.alias"),
            0o644,
            modules::alias_index(&set).as_bytes(),
        );
    }
    workspace::write(&cached, &archive.finish())?;
    Ok(cached)
}
