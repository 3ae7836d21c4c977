//! The guest that Dom0 brings along: Debian's kernel, a RAM disk with busybox and the frontend drivers, and a
//! configuration, for `xlr create demo`. Its disk is made by Dom0's init.

use std::process::Command;

use anyhow::{Context, Result};

use super::cpio::Archive;
use super::modules;
use crate::setup::kernel::Kernel;
use crate::{command, setup, workspace};

const INIT: &[u8] = include_bytes!("guest.sh");
const POWEROFF: &[u8] = include_bytes!("guest_poweroff.sh");
const BENCH: &[u8] = include_bytes!("guest_bench.sh");
const CONFIG: &[u8] = include_bytes!("demo.cfg");

/// Folder of the sample guest in Dom0.
const FOLDER: &str = "var/lib/paravane/demo";

/// The guest's RAM disk. Linux's own shutdown calls `/sbin/poweroff` and `/sbin/reboot`.
fn ram_disk(kernel: &Kernel) -> Result<Vec<u8>> {
    let mut archive = busybox_disk(kernel, INIT, &[("poweroff", POWEROFF), ("reboot", POWEROFF)])?;
    archive.file("bench.sh", 0o755, BENCH);
    Ok(archive.finish())
}

/// A guest's RAM disk with busybox, the frontends' drivers and this first process; `own` are programs in the place of
/// busybox's.
pub fn busybox_disk(kernel: &Kernel, init: &[u8], own: &[(&str, &[u8])]) -> Result<Archive> {
    let busybox = setup::busybox()?;
    let mut archive = Archive::new();
    for folder in ["bin", "dev", "etc", "lib", "mnt", "proc", "root", "sys", "tmp"] {
        archive.folder(folder);
    }
    archive.char_device("dev/console", 5, 1);
    archive.file("init", 0o755, init);
    archive.file("bin/busybox", 0o755, &workspace::read(&busybox)?);
    let applets = command::capture(Command::new(&busybox).arg("--list"))?;
    for applet in applets
        .lines()
        .filter(|name| *name != "busybox" && own.iter().all(|(other, _)| other != name))
    {
        archive.symlink(&format!("bin/{applet}"), "busybox");
    }
    for (name, program) in own {
        archive.file(&format!("bin/{name}"), 0o755, program);
    }
    archive.symlink("sbin", "bin");
    archive.file("etc/filesystems", 0o644, b"ext4\n");
    if let Some(dir) = &kernel.modules {
        modules::install(&modules::collect(dir, modules::GUEST)?, &kernel.version, &mut archive);
    }
    Ok(archive)
}

/// Puts the guest into Dom0's RAM disk.
pub fn install(kernel: &Kernel, archive: &mut Archive) -> Result<()> {
    archive.folders(FOLDER);
    archive.folders("etc/paravane");
    archive.file(&format!("{FOLDER}/vmlinuz"), 0o644, &workspace::read(&kernel.image)?);
    archive.file(&format!("{FOLDER}/initrd"), 0o644, &ram_disk(kernel)?);
    archive.file("etc/paravane/demo.cfg", 0o644, CONFIG);
    Ok(())
}

/// The guest's kernel as the tools keep it once they have unpacked it: its name in Dom0 and the file. Every boot begins
/// with empty caches, and to unpack the kernel anew takes an emulated machine a quarter of a minute.
pub fn unpacked(kernel: &Kernel) -> Result<Vec<(String, Vec<u8>)>> {
    let folder = workspace::cache("kernels")?;
    kernel_cache::Cache::new(&folder)
        .load(&kernel.image)
        .context("the guest's kernel")?;
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        if let Some(name) = path
            .file_name()
            .filter(|_| path.extension().is_some_and(|end| end == "kernel"))
        {
            let inside = format!("{}/{}", kernel_cache::DIRECTORY, name.to_string_lossy());
            files.push((inside, workspace::read(&path)?));
        }
    }
    Ok(files)
}

/// All that the guest is made of, for the name of a cached file.
pub fn key() -> Vec<u8> {
    [INIT, BENCH, POWEROFF, CONFIG, include_bytes!("sample.rs").as_slice()].concat()
}
