//! Stock Xen out of Debian's package: the yardstick of `bench`, never a part of the hypervisor.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::apt;
use crate::dom0::payload;
use crate::workspace;

const OTHERWISE: &str = "give a multiboot image of stock Xen with --xen FILE";

/// What stock Xen needs under QEMU's emulation: by default it saves a guest's vector registers when the next one uses
/// its own, and relies on a trap of XSAVE that QEMU 7.2 does not raise, so that domains get each other's registers.
pub const OPTIONS: &str = "spec-ctrl=eager-fpu";

/// Whether an image is the one that [`find`] gives.
pub fn is_fetched(image: &Path) -> bool {
    workspace::cache("xen").is_ok_and(|dir| image == dir.join("xen.elf"))
}

/// Debian's Xen, decompressed, in the cache.
pub fn find() -> Result<PathBuf> {
    let _one = super::one_maker();
    let dir = workspace::cache("xen")?;
    let image = dir.join("xen.elf");
    if image.is_file() {
        return Ok(image);
    }
    let package = apt::dependency("xen-system-amd64", "xen-hypervisor-", OTHERWISE)?;
    let root = dir.join("root");
    apt::unpack(&[&package], &root).context(OTHERWISE)?;
    for entry in fs::read_dir(root.join("boot"))? {
        let path = entry?.path();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        if name.starts_with("xen-") && name.ends_with("-amd64.gz") {
            workspace::write(&image, &payload::gunzip(&workspace::read(&path)?)?)?;
            return Ok(image);
        }
    }
    bail!("package {package} holds no hypervisor image; {OTHERWISE}")
}

/// Debian's own xenstored with its libraries, unpacked in one folder: what ours is compared with.
pub fn store() -> Result<PathBuf> {
    const LIBRARIES: [&str; 8] = [
        "libxenevtchn1",
        "libxengnttab1",
        "libxencall1",
        "libxenforeignmemory1",
        "libxentoolcore1",
        "libxentoollog1",
        "libxendevicemodel1",
        "libxenstore4",
    ];
    let root = workspace::cache("xen")?.join("store");
    if root.is_dir() {
        return Ok(root);
    }
    let utils = apt::dependency("xen-system-amd64", "xen-utils-", OTHERWISE)?;
    let misc = apt::dependency(&utils, "libxenmisc", OTHERWISE)?;
    let mut packages = vec![utils.as_str(), misc.as_str()];
    packages.extend(LIBRARIES);
    apt::unpack(&packages, &root)?;
    Ok(root)
}
