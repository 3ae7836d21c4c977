//! `cargo xtask build`: the hypervisor image, what is checked on it, and its loadable form.

pub mod check;
pub mod elf32;
pub mod symbols;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Result, bail};

use crate::progress::{Step, note};
use crate::{command, workspace};

/// The files of a built image.
#[derive(Clone, Debug)]
pub struct Image {
    /// What loaders take.
    pub elf32: PathBuf,
    /// The linked image with symbols, for debuggers.
    pub elf64: PathBuf,
}

/// Link address minus load address; `link.ld` says the same.
pub const LOAD_OFFSET: u64 = 0xffff_82d0_3fe0_0000;

/// The image must link with soft-float `core`, above 2 GiB from address zero and without a C runtime:
/// docs/adr/0001-stable-toolchain.md says why each of these is there.
fn flags() -> Vec<String> {
    let script = workspace::root().join("xen-core/hv/link.ld");
    let codegen = [
        "target-feature=-mmx,-sse,-sse2,-sse3,-ssse3,-sse4.1,-sse4.2,-avx,+soft-float",
        "relocation-model=pic",
        "no-redzone=yes",
        "force-frame-pointers=yes",
        "relro-level=off",
        "link-arg=-nostartfiles",
        "link-arg=-nostdlib",
        "link-arg=-static",
        "link-arg=-no-pie",
        "link-arg=-Wl,-z,max-page-size=4096",
        "link-arg=-Wl,--gc-sections",
        "link-arg=-Wl,--build-id=none",
    ];
    let script = format!("link-arg=-Wl,-T,{}", script.display());
    codegen
        .iter()
        .map(|&flag| flag.to_owned())
        .chain([script])
        .flat_map(|flag| ["-C".to_owned(), flag])
        .collect()
}

/// Runs cargo with the image's flags and its own target directory.
pub fn cargo(verb: &str) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut line = Command::new(cargo);
    line.current_dir(workspace::root())
        .args([verb, "--quiet", "--package", "xen-hv", "--release"]);
    line.args(["--target", "x86_64-unknown-linux-gnu", "--target-dir"])
        .arg(workspace::target().join("image"));
    line.env("CARGO_ENCODED_RUSTFLAGS", flags().join("\x1f"))
        .env_remove("RUSTFLAGS");
    line
}

/// Compiles, checks and wraps the image; all of it only where something changed.
fn build() -> Result<(Image, Option<check::Findings>)> {
    let step = Step::new("building the hypervisor");
    command::capture(&mut cargo("build"))?;
    step.done("built");
    let linked = workspace::target().join("image/x86_64-unknown-linux-gnu/release/xen-hv");
    let bytes = workspace::read(&linked)?;
    let dir = workspace::image_dir();
    std::fs::create_dir_all(&dir)?;
    let image = Image {
        elf32: dir.join("paravane.elf"),
        elf64: dir.join("paravane.elf64"),
    };
    if image.elf32.is_file() && std::fs::read(&image.elf64).is_ok_and(|old| old == bytes) {
        return Ok((image, None));
    }
    let findings = check::check(&bytes)?;
    if !findings.errors.is_empty() {
        bail!(
            "the linked image breaks its promises:\n  {}",
            findings.errors.join("\n  ")
        );
    }
    workspace::write(&image.elf32, &elf32::wrap(&bytes)?)?;
    workspace::write(&image.elf64, &bytes)?;
    Ok((image, Some(findings)))
}

/// The image of the sources as they are now. Built at most once by a process.
pub fn up_to_date() -> Result<Image> {
    static BUILT: Mutex<Option<Image>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(image) = &*built {
        return Ok(image.clone());
    }
    let (image, _) = build()?;
    *built = Some(image.clone());
    Ok(image)
}

/// `cargo xtask build`.
pub fn report() -> Result<()> {
    let (image, findings) = build()?;
    let findings = match findings {
        Some(findings) => findings,
        None => check::check(&workspace::read(&image.elf64)?)?,
    };
    for line in findings.lines() {
        note(line);
    }
    let elf32 = workspace::read(&image.elf32)?;
    let size = elf32::loaded_size(&elf32)?;
    note(format!(
        "{}: {} bytes, {size} in memory",
        image.elf32.display(),
        elf32.len()
    ));
    note(format!("{}: with symbols", image.elf64.display()));
    Ok(())
}
