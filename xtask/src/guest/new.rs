//! `cargo xtask new-guest NAME`: a guest crate that boots.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::progress::note;
use crate::workspace;

/// Options of `new-guest`.
#[derive(Args, Clone, Debug)]
pub struct NewGuestArgs {
    /// The new guest's name: lower-case letters, digits, hyphens
    name: String,
}

impl NewGuestArgs {
    /// For a guest of this name.
    pub fn plain(name: &str) -> Self {
        Self { name: name.to_owned() }
    }
}

const MANIFEST: &str = include_str!("template/Cargo.toml.txt");
const MAIN: &str = include_str!("template/main.rs.txt");

fn is_name(name: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    name.len() <= 30
        && name.bytes().all(inside)
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
}

/// A template with the name put in.
fn fill(template: &str, name: &str) -> String {
    template.replace("{name}", name)
}

/// `cargo xtask new-guest`.
pub fn new_guest(args: &NewGuestArgs) -> Result<ExitCode> {
    let name = &args.name;
    ensure!(
        is_name(name),
        "{name:?} is no name for a guest: lower-case letters, digits and hyphens, a letter first"
    );
    let folder = workspace::root().join("pv-frontends/guests").join(name);
    ensure!(!folder.exists(), "{} is there already", folder.display());
    let source = folder.join("src");
    std::fs::create_dir_all(&source).with_context(|| format!("cannot make {}", source.display()))?;
    // The workspace takes up every folder with a manifest, so that comes last.
    workspace::write(&source.join("main.rs"), fill(MAIN, name).as_bytes())?;
    workspace::write(&folder.join("Cargo.toml"), fill(MANIFEST, name).as_bytes())?;
    note(format!(
        "{} is a guest; `cargo xtask guest {name}` boots it",
        folder.display()
    ));
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["a", "disk-test", "x2"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "A", "2x", "a/b", "..", "a-", "a b"] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn templates_are_filled() {
        let manifest = fill(MANIFEST, "probe");
        assert!(manifest.contains("name = \"guest-probe\"") && !manifest.contains("{name}"));
        assert!(fill(MAIN, "probe").contains("probe"));
    }
}
