//! Build script of every guest image: links it without an operating system, by guest-rt's linker script. A guest names
//! this file as its `build`.
use std::path::Path;

fn main() {
    // Of the package that is built; guests lie at different depths of the project.
    let package = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let script = Path::new(&package)
        .ancestors()
        .map(|folder| folder.join("pv-frontends/guest-rt/guest.ld"))
        .find(|file| file.is_file());
    let Some(script) = script else {
        println!("cargo::error=there is no pv-frontends/guest-rt/guest.ld above {package}");
        return;
    };
    println!("cargo::rerun-if-changed={}", script.display());
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--build-id=none",
    ] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    println!("cargo::rustc-link-arg-bins=-T{}", script.display());
}
