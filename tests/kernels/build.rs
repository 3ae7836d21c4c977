//! Links the kernels as images without an operating system, by guest-rt's linker script.

fn main() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../pv-frontends/guest-rt/guest.ld");
    println!("cargo::rerun-if-changed={script}");
    let script = format!("-T{script}");
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--build-id=none",
        &script,
    ] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
}
