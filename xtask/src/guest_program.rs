//! Programs and kernels for guests, compiled from `tests/` and `pv-frontends/guests`.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use anyhow::Result;

use crate::progress::Step;
use crate::{command, workspace};

/// What a test kernel is compiled with: it runs where Linux runs, in the top 2 GiB, without a C runtime.
const KERNEL_FLAGS: [&str; 5] = [
    "target-feature=-mmx,-sse,-sse2,-sse3,-ssse3,-sse4.1,-sse4.2,-avx,+soft-float",
    "relocation-model=static",
    "code-model=kernel",
    "no-redzone=yes",
    "force-frame-pointers=yes",
];

/// Dom0's RAM disk has no libraries.
const PROGRAM_FLAGS: [&str; 2] = ["target-feature=+crt-static", "strip=symbols"];

/// Compiles a package and gives the folder of its binaries. Tests ask for it side by side; one compiles.
fn build(package: &str, folder: &str, flags: &[&str], lto: &str) -> Result<PathBuf> {
    static BUILT: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut built = BUILT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let target = workspace::target().join(folder);
    if !built.iter().any(|name| name == package) {
        let flags: Vec<String> = flags.iter().map(|flag| format!("-C\x1f{flag}")).collect();
        let mut line = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        line.current_dir(workspace::root())
            .args(["build", "--quiet", "--package", package, "--release"]);
        line.args(["--target", "x86_64-unknown-linux-gnu", "--target-dir"])
            .arg(&target);
        line.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            .env_remove("RUSTFLAGS");
        line.env("CARGO_PROFILE_RELEASE_LTO", lto);
        let step = Step::new(format!("building {package}"));
        command::capture(&mut line)?;
        step.done("built");
        built.push(package.to_owned());
    }
    Ok(target.join("x86_64-unknown-linux-gnu/release"))
}

/// The load program, linked statically.
pub fn dom0_load() -> Result<PathBuf> {
    Ok(build("dom0-load", "guest", &PROGRAM_FLAGS, "off")?.join("dom0-load"))
}

/// A test kernel by its name.
pub fn kernel(name: &str) -> Result<PathBuf> {
    // With fat LTO `core` is compiled again by these flags, as in the hypervisor's image.
    Ok(build("test-kernels", "kernels", &KERNEL_FLAGS, "fat")?.join(name))
}

/// A guest of `pv-frontends/guests` by its name.
pub fn guest(name: &str) -> Result<PathBuf> {
    let package = format!("guest-{name}");
    Ok(build(&package, "kernels", &KERNEL_FLAGS, "fat")?.join(package))
}
