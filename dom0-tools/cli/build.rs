//! How `xlr` is linked.
//!
//! Linked statically it would be a position-independent program: one that at each start relocates itself (some thousand
//! words, on pages that it could otherwise share), and that lies at another address each time. `xlr` is started for every
//! command a person types and for many an event, does little, and ends: it is linked to a fixed address. Its stack, heap
//! and mappings are still placed at random. The daemons, which live long and talk to guests, stay as they are.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=CARGO_CFG_TARGET_FEATURE");
    let features = std::env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    if features.split(',').any(|feature| feature == "crt-static") {
        println!("cargo:rustc-link-arg-bins=-static");
        println!("cargo:rustc-link-arg-bins=-no-pie");
    }
}
