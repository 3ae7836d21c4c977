//! `cargo xtask setup`: finds or installs what the other commands need. They call it by themselves.

pub mod apt;
pub mod grub;
pub mod kernel;
pub mod rootdisk;
pub mod xen;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Result, bail};
use clap::Args;

use crate::command;
use crate::progress::note;

/// What to use in the place of Debian's packages.
#[derive(Args, Clone, Debug, Default)]
pub struct Overrides {
    /// Linux kernel for Dom0 (bzImage or vmlinux) in the place of Debian's
    #[arg(long, value_name = "FILE", global = true)]
    pub kernel: Option<PathBuf>,
    /// Linux kernel for the sample guest in the place of Dom0's; its modules lie in ../lib/modules or ../usr/lib/modules
    #[arg(long, value_name = "FILE", global = true)]
    pub guest_kernel: Option<PathBuf>,
    /// Initial RAM disk for Dom0 in the place of the one xtask makes
    #[arg(long, value_name = "FILE", global = true)]
    pub initrd: Option<PathBuf>,
    /// QEMU program in the place of qemu-system-x86_64
    #[arg(long, value_name = "FILE", global = true)]
    pub qemu: Option<PathBuf>,
    /// Folder with Dom0's tools, linked statically, in the place of building them
    #[arg(long = "tools", value_name = "DIR", global = true)]
    pub tools_from: Option<PathBuf>,
}

/// Held while something is looked for and made where it is missing: tests that run at once need the same things.
fn one_maker() -> MutexGuard<'static, ()> {
    static MAKING: Mutex<()> = Mutex::new(());
    // Who panicked left no more than a file that is made again.
    MAKING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A given file must be there.
fn checked(file: &Path, option: &str) -> Result<PathBuf> {
    if !file.is_file() {
        bail!("{option} {}: no such file", file.display());
    }
    Ok(file.to_path_buf())
}

/// The emulator: the given one, the installed one, or a freshly installed one.
pub fn qemu(over: &Overrides) -> Result<PathBuf> {
    if let Some(file) = &over.qemu {
        return checked(file, "--qemu");
    }
    program("qemu-system-x86_64", "qemu-system-x86", "give one with --qemu FILE")
}

/// Debian's statically linked busybox, Dom0's user space.
pub fn busybox() -> Result<PathBuf> {
    program(
        "busybox",
        "busybox-static",
        "give an initial RAM disk of your own with --initrd FILE",
    )
}

/// A program by its name, from `package` where it is not installed.
pub fn program(name: &str, package: &str, otherwise: &str) -> Result<PathBuf> {
    if let Some(file) = command::find(name) {
        return Ok(file);
    }
    apt::install(&[package], otherwise)?;
    match command::find(name) {
        Some(file) => Ok(file),
        None => bail!("package {package} is installed, but there is no {name} in PATH"),
    }
}

/// `cargo xtask setup`.
pub fn setup(over: &Overrides) -> Result<()> {
    let qemu = qemu(over)?;
    note(format!("QEMU: {}", qemu.display()));
    let kernel = kernel::find(over)?;
    note(format!("kernel: {} ({})", kernel.image.display(), kernel.version));
    if let Some(initrd) = &over.initrd {
        note(format!("initrd: {}", checked(initrd, "--initrd")?.display()));
    } else {
        note(format!("busybox: {}", busybox()?.display()));
    }
    command::find("cc").map_or_else(
        || apt::install(&["gcc", "libc6-dev"], "install a C linker for rustc"),
        |file| {
            note(format!("linker: {}", file.display()));
            Ok(())
        },
    )
}
