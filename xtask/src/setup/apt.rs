//! Debian's package tools, as root or through sudo.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::progress::Step;

/// Boot tests run side by side; the package tools do not.
static LOCK: Mutex<()> = Mutex::new(());

/// A command that runs as root, or None where that cannot be had.
pub fn as_root(program: &str) -> Option<Command> {
    let is_root = command::capture(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    let mut line = if is_root {
        Command::new(program)
    } else {
        let mut sudo = Command::new(command::find("sudo")?);
        // sudo drops the environment, so what apt needs of it is named again on its line.
        sudo.args(["env", "DEBIAN_FRONTEND=noninteractive", program]);
        sudo
    };
    line.env("DEBIAN_FRONTEND", "noninteractive");
    Some(line)
}

fn root_apt(packages: &[&str], otherwise: &str) -> Result<Command> {
    let wanted = packages.join(" ");
    if command::find("apt-get").is_none() {
        bail!("this machine has no apt-get: install what Debian calls `{wanted}` by other means, or {otherwise}");
    }
    match as_root("apt-get") {
        Some(apt) => Ok(apt),
        None => bail!("neither root nor sudo here: have `apt-get install {wanted}` run for you, or {otherwise}"),
    }
}

/// Brings the package lists up to date.
fn update() -> Result<()> {
    let step = Step::new("apt-get update");
    command::capture(root_apt(&[], "bring the package lists up to date")?.args(["-q", "update"]))?;
    step.done("package lists are up to date");
    Ok(())
}

/// Installs packages; `otherwise` says what else a person can do.
pub fn install(packages: &[&str], otherwise: &str) -> Result<()> {
    let _guard = LOCK.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let attempt = || -> Result<String> {
        let mut apt = root_apt(packages, otherwise)?;
        command::capture(apt.args(["-qy", "--no-install-recommends", "install"]).args(packages))
    };
    if !known(packages[0]) {
        update()?;
    }
    let step = Step::new(format!("apt-get install {}", packages.join(" ")));
    if attempt().is_err() {
        // Old lists name files that the archive no longer has.
        update()?;
        attempt().with_context(|| format!("cannot install {}; if you can, {otherwise}", packages.join(" ")))?;
    }
    step.done("installed");
    Ok(())
}

/// Whether the package lists know a package.
fn known(package: &str) -> bool {
    let show = command::capture(Command::new("apt-cache").args(["policy", package]));
    show.is_ok_and(|text| {
        text.lines()
            .any(|line| line.contains("Candidate:") && !line.contains("(none)"))
    })
}

/// The first dependency of `package` whose name begins with `prefix`.
pub fn dependency(package: &str, prefix: &str, otherwise: &str) -> Result<String> {
    let _guard = LOCK.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if command::find("apt-cache").is_none() {
        bail!("this machine has no apt-cache, so Debian's {package} cannot be had: {otherwise}");
    }
    if !known(package) {
        update()?;
    }
    let text = command::capture(Command::new("apt-cache").args(["depends", package]))?;
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with(prefix))
        .map(str::to_owned)
        .with_context(|| format!("the package lists have no {package} that depends on {prefix}*: {otherwise}"))
}

/// Downloads packages and unpacks them to one folder, without installing them.
pub fn unpack(packages: &[&str], into: &Path) -> Result<()> {
    let _guard = LOCK.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let dir = into.with_extension("download");
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(&dir)?;
    let download = || {
        command::capture(
            Command::new("apt-get")
                .args(["-q", "download"])
                .args(packages)
                .current_dir(&dir),
        )
    };
    let names = packages.join(" ");
    let step = Step::new(format!("downloading {names}"));
    if download().is_err() {
        update()?;
        download().with_context(|| format!("cannot download {names}"))?;
    }
    step.done("downloaded");
    let step = Step::new(format!("unpacking {names}"));
    let part = dir.join("root");
    for deb in debs_in(&dir)? {
        command::capture(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&part))?;
    }
    if into.exists() {
        std::fs::remove_dir_all(into)?;
    }
    std::fs::rename(&part, into)?;
    std::fs::remove_dir_all(&dir)?;
    step.done(format!("in {}", into.display()));
    Ok(())
}

fn debs_in(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut debs = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ext| ext == "deb") {
            debs.push(path);
        }
    }
    if debs.is_empty() {
        bail!("apt-get download left no package in {}", dir.display());
    }
    Ok(debs)
}
