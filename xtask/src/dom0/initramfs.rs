//! Dom0's initial RAM disk: busybox, kernel modules and an init, in two archives. The first is the same for
//! every run and cached; the second holds what one run adds.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::cpio::Archive;
use super::{modules, payload, sample, tools};
use crate::command;
use crate::setup::kernel::Kernel;
use crate::{setup, workspace};

const INIT: &[u8] = include_bytes!("init.sh");
const DAEMONS: &[u8] = include_bytes!("daemons.sh");

/// What one run adds to the RAM disk.
#[derive(Debug, Default)]
pub struct Additions {
    /// Run this in the place of a shell, between lines that begin with the mark.
    pub command: Option<(String, String)>,
    /// Further files: path below `/paravane`, or from the root where it begins with `/`; content. All are executable.
    pub files: Vec<(String, Vec<u8>)>,
    /// The tools, their daemons and a guest to start.
    pub tools: bool,
    /// The tools have not yet unpacked the guest's kernel.
    pub cold: bool,
}

/// The RAM disk as bytes. `guest` is the sample guest's kernel.
pub fn build(kernel: &Kernel, guest: &Kernel, additions: &Additions, given_tools: Option<&Path>) -> Result<Vec<u8>> {
    let mut disk = workspace::read(&base(kernel, additions.tools.then_some(guest))?)?;
    let mut archive = Archive::new();
    if additions.tools {
        for tool in tools::find(given_tools)? {
            archive.file(&format!("bin/{}", tool.name), 0o755, &workspace::read(&tool.file)?);
        }
    }
    archive.folder("paravane");
    if additions.tools && !additions.cold {
        for (name, content) in sample::unpacked(guest)? {
            let path = name.trim_start_matches('/');
            archive.folders(path.rsplit_once('/').map_or(path, |(folder, _)| folder));
            archive.file(path, 0o600, &content);
        }
    }
    if let Some((command, mark)) = &additions.command {
        archive.file("paravane/command", 0o644, format!("{command}\n").as_bytes());
        archive.file("paravane/mark", 0o644, format!("{mark}\n").as_bytes());
    }
    for (name, content) in &additions.files {
        let path = name
            .strip_prefix('/')
            .map_or_else(|| format!("paravane/{name}"), str::to_owned);
        if let Some((folder, _)) = path.rsplit_once('/') {
            archive.folders(folder);
        }
        archive.file(&path, 0o755, content);
    }
    disk.extend(archive.finish());
    Ok(disk)
}

/// The archive that all runs with one kernel share, or all with tools and a guest of one kernel.
fn base(kernel: &Kernel, guest: Option<&Kernel>) -> Result<PathBuf> {
    let busybox = setup::busybox()?;
    // Anything the archive is made of is part of its name.
    let mut key = INIT.to_vec();
    key.extend(workspace::read(&busybox)?);
    key.extend(kernel.version.as_bytes());
    key.extend(kernel.modules.iter().flat_map(|dir| dir.as_os_str().as_encoded_bytes()));
    key.extend(include_bytes!("initramfs.rs"));
    key.extend(include_bytes!("modules.rs"));
    if let Some(guest) = guest {
        key.extend(DAEMONS);
        key.extend(sample::key());
        key.extend(workspace::read(&guest.image)?);
        key.extend(guest.modules.iter().flat_map(|dir| dir.as_os_str().as_encoded_bytes()));
    }
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
    let mut wanted = modules::DOM0.to_vec();
    if let Some(guest) = guest {
        wanted.extend(modules::TOOLS);
        archive.folders("etc/paravane");
        archive.file("etc/paravane/daemons", 0o644, DAEMONS);
        sample::install(guest, &mut archive)?;
    }
    if let Some(dir) = &kernel.modules {
        modules::install(&modules::collect(dir, &wanted)?, &kernel.version, &mut archive);
    }
    workspace::write(&cached, &archive.finish())?;
    Ok(cached)
}
