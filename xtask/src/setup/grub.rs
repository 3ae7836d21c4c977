//! Debian's GRUB for paravirtual guests: a kernel of other origin than Linux, for the tests.

use std::path::PathBuf;

use anyhow::Result;

use super::apt;
use crate::workspace;

/// The image, which reads the guest's disk and starts what `/boot/grub/grub.cfg` there says.
pub fn find() -> Result<PathBuf> {
    let _one = super::one_maker();
    let root = workspace::cache("grub")?.join("root");
    let image = root.join("usr/lib/grub-xen/grub-x86_64-xen.bin");
    if !image.is_file() {
        apt::unpack(&["grub-xen-host"], &root)?;
    }
    Ok(image)
}
