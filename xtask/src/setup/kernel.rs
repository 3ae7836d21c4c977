//! The Linux kernel that runs as Dom0: Debian's own, taken out of its package, or a given one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Overrides, apt, checked};
use crate::dom0::payload;
use crate::workspace;

const OTHERWISE: &str = "give a kernel with --kernel FILE (a bzImage or vmlinux with CONFIG_XEN_PV)";

/// A kernel and its modules.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// bzImage or vmlinux.
    pub image: PathBuf,
    /// As `uname -r` says; empty where it cannot be told.
    pub version: String,
    /// The folder of modules for that version, where there is one.
    pub modules: Option<PathBuf>,
}

/// The kernel to use.
pub fn find(over: &Overrides) -> Result<Kernel> {
    match &over.kernel {
        Some(file) => given(&checked(file, "--kernel")?),
        None => debian(),
    }
}

/// The sample guest's: the one that was given for it, or Dom0's.
pub fn of_guest(over: &Overrides, dom0: &Kernel) -> Result<Kernel> {
    match &over.guest_kernel {
        Some(file) => given(&checked(file, "--guest-kernel")?),
        None => Ok(dom0.clone()),
    }
}

fn given(image: &Path) -> Result<Kernel> {
    let version = payload::version(&workspace::read(image)?).unwrap_or_default();
    // Debian 13 moved /lib below /usr, Debian 14 the image among its modules.
    let around = |steps| image.ancestors().nth(steps).map(Path::to_path_buf);
    let beside = around(2)
        .into_iter()
        .flat_map(|root| [root.join("usr/lib/modules"), root.join("lib/modules")]);
    let modules = around(2)
        .into_iter()
        .chain(beside)
        .chain([Path::new("/lib/modules").to_path_buf()])
        .map(|dir| dir.join(&version))
        .find(|dir| !version.is_empty() && dir.join("kernel").is_dir());
    Ok(Kernel {
        image: image.to_path_buf(),
        version,
        modules,
    })
}

fn debian() -> Result<Kernel> {
    let root = workspace::cache("kernel")?.join("root");
    let mut version = unpacked(&root);
    if version.is_none() {
        let package = apt::dependency("linux-image-amd64", "linux-image-", OTHERWISE)?;
        apt::unpack(&[&package], &root).context(OTHERWISE)?;
        version = unpacked(&root);
    }
    let version = version.with_context(|| format!("no kernel in {}; {OTHERWISE}", root.display()))?;
    // Debian 13 moved /lib below /usr.
    let modules = [root.join("usr/lib/modules"), root.join("lib/modules")]
        .map(|dir| dir.join(&version))
        .into_iter()
        .find(|dir| dir.is_dir());
    Ok(Kernel {
        image: root.join("boot").join(format!("vmlinuz-{version}")),
        version,
        modules,
    })
}

/// The version of the kernel that lies unpacked in the cache.
fn unpacked(root: &Path) -> Option<String> {
    let boot = fs::read_dir(root.join("boot")).ok()?;
    let names = boot.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names
        .filter_map(|name| name.strip_prefix("vmlinuz-").map(str::to_owned))
        .max()
}
