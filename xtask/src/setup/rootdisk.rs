//! Debian's disk, for `bench` and for the tests of Debian's own tools: programs that make load, Xen's tools, libvirt.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{apt, program};
use crate::progress::Step;
use crate::{command, workspace};

const PACKAGES: &str = "stress-ng,rt-tests,bash,xenstore-utils,xen-utils-common,iproute2,bridge-utils,kmod,udev,procps,\
    iputils-ping,socat,e2fsprogs,nftables,libvirt-daemon,libvirt-daemon-driver-xen,libvirt-clients";
const ROOM_MIB: u64 = 400;
const OTHERWISE: &str =
    "give `bench` a root disk with stress-ng, hackbench, bash and Debian's xen-utils by --root-disk FILE";

/// Debian's name for this machine's release.
fn release() -> Result<String> {
    let text = std::fs::read_to_string("/etc/os-release").context("cannot read /etc/os-release")?;
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    name.map(|name| name.trim_matches('"').to_owned())
        .context("this machine's release has no code name")
}

/// The disk, made once.
pub fn find() -> Result<PathBuf> {
    let _one = super::one_maker();
    let dir = workspace::cache("bench")?;
    let disk = dir.join("root-debian.img");
    if disk.is_file() {
        return Ok(disk);
    }
    program("mmdebstrap", "mmdebstrap", OTHERWISE)?;
    program("mke2fs", "e2fsprogs", OTHERWISE)?;
    let step = Step::new("making a Debian root disk for the loads");
    // An older disk without all of these.
    for older in ["root.img", "root-xen.img", "root-tools.img"] {
        let _ = std::fs::remove_file(dir.join(older));
    }
    let archive = dir.join("root.tar");
    let root = dir.join("root");
    as_root("mmdebstrap", |line| {
        // The name holds Xen's release.
        let xen = apt::dependency("xen-system-amd64", "xen-utils-", OTHERWISE)?;
        line.args([
            "-q",
            "--variant=minbase",
            &format!("--include={PACKAGES},{xen}"),
            &release()?,
        ])
        .arg(&archive);
        Ok(())
    })?;
    as_root("rm", |line| remove(line, &root))?;
    std::fs::create_dir_all(&root)?;
    as_root("tar", |line| {
        line.arg("-xf").arg(&archive).arg("-C").arg(&root);
        Ok(())
    })?;
    let used = as_root("du", |line| {
        line.args(["-sm"]).arg(&root);
        Ok(())
    })?;
    let used: u64 = used
        .split_whitespace()
        .next()
        .and_then(|word| word.parse().ok())
        .context("du said nothing")?;
    let part = disk.with_extension("part");
    as_root("mke2fs", |line| {
        line.args(["-q", "-F", "-t", "ext4", "-d"])
            .arg(&root)
            .arg(&part)
            .arg(format!("{}M", used + ROOM_MIB));
        Ok(())
    })?;
    std::fs::rename(&part, &disk)?;
    as_root("rm", |line| remove(line, &root))?;
    as_root("rm", |line| remove(line, &archive))?;
    step.done(format!("{} MiB used", used));
    Ok(disk)
}

fn remove(line: &mut Command, path: &Path) -> Result<()> {
    line.arg("-rf").arg(path);
    Ok(())
}

fn as_root(name: &str, arguments: impl FnOnce(&mut Command) -> Result<()>) -> Result<String> {
    let Some(mut line) = apt::as_root(name) else {
        bail!("neither root nor sudo here: {OTHERWISE}");
    };
    arguments(&mut line)?;
    command::capture(&mut line)
}
