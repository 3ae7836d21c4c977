//! Dom0's tools: the programs of `dom0-tools/`, linked statically, since Dom0's RAM disk has no libraries.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::progress::Step;
use crate::{command, workspace};

/// A program for Dom0's `/bin`.
#[derive(Clone, Debug)]
pub struct Tool {
    /// Its name there.
    pub name: String,
    /// The linked file.
    pub file: PathBuf,
}

const FLAGS: [&str; 4] = ["-C", "target-feature=+crt-static", "-C", "strip=symbols"];

fn cargo() -> Command {
    let mut line = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    line.current_dir(workspace::root());
    line
}

/// Packages of the workspace below `dom0-tools/` that have programs, with these programs' names.
fn packages() -> Result<Vec<(String, Vec<String>)>> {
    let text = command::capture(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&text).context("cargo metadata speaks no JSON")?;
    let below = workspace::root().join("dom0-tools");
    let list = metadata["packages"]
        .as_array()
        .context("cargo metadata names no packages")?;
    Ok(list.iter().filter_map(|package| programs(package, &below)).collect())
}

fn programs(package: &Value, below: &Path) -> Option<(String, Vec<String>)> {
    let manifest = Path::new(package["manifest_path"].as_str()?);
    let is_program = |target: &&Value| {
        target["kind"]
            .as_array()
            .is_some_and(|kinds| kinds.iter().any(|kind| kind == "bin"))
    };
    let names: Vec<String> = package["targets"]
        .as_array()?
        .iter()
        .filter(is_program)
        .filter_map(|target| Some(target["name"].as_str()?.to_owned()))
        .collect();
    (manifest.starts_with(below) && !names.is_empty())
        .then(|| (package["name"].as_str().unwrap_or_default().to_owned(), names))
}

/// The tools: those in a given folder, or freshly compiled ones.
pub fn find(given: Option<&Path>) -> Result<Vec<Tool>> {
    match given {
        Some(folder) => files(folder),
        None => build(),
    }
}

/// Every program in a folder.
fn files(folder: &Path) -> Result<Vec<Tool>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("--tools {}", folder.display()))?;
    let mut tools = Vec::new();
    for entry in entries {
        let entry = entry?;
        let is_program = entry
            .metadata()
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
        if is_program {
            tools.push(Tool {
                name: entry.file_name().to_string_lossy().into_owned(),
                file: entry.path(),
            });
        }
    }
    Ok(tools)
}

/// Compiles all tools, at most once by a process.
fn build() -> Result<Vec<Tool>> {
    static BUILT: Mutex<Option<Vec<Tool>>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(tools) = &*built {
        return Ok(tools.clone());
    }
    let packages = packages()?;
    let names: Vec<&str> = packages.iter().map(|(package, _)| package.as_str()).collect();
    let folder = compile(&names)?;
    let names = packages.into_iter().flat_map(|(_, programs)| programs);
    let tools: Vec<Tool> = names
        .map(|name| Tool {
            file: folder.join(&name),
            name,
        })
        .collect();
    *built = Some(tools.clone());
    Ok(tools)
}

/// One tool, compiled alone: for a guest that needs no others.
pub fn single(name: &str) -> Result<PathBuf> {
    let packages = packages()?;
    let has_it = |(_, programs): &&(String, Vec<String>)| programs.iter().any(|program| program == name);
    let (package, _) = packages
        .iter()
        .find(has_it)
        .with_context(|| format!("no program {name} below dom0-tools"))?;
    Ok(compile(&[package])?.join(name))
}

/// Compiles packages, and gives the folder of their programs.
fn compile(packages: &[&str]) -> Result<PathBuf> {
    let target = workspace::target().join("tools");
    let mut line = cargo();
    line.args(["build", "--quiet", "--release", "--bins"]);
    line.args(["--target", "x86_64-unknown-linux-gnu", "--target-dir"])
        .arg(&target);
    line.args(packages.iter().flat_map(|package| ["--package", package]));
    line.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"))
        .env_remove("RUSTFLAGS");
    // Fat LTO is for the hypervisor; here it would cost minutes.
    line.env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
    let step = Step::new("building Dom0's tools");
    command::capture(&mut line).context("Dom0's tools do not compile; --tools DIR takes compiled ones")?;
    step.done("built");
    Ok(target.join("x86_64-unknown-linux-gnu/release"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn programs_are_found_below_the_folder_alone() {
        let package = |manifest: &str, kind: &str| json!({ "name": "cli", "manifest_path": manifest, "targets": [{ "kind": [kind], "name": "xlr" }] });
        let below = Path::new("/p/dom0-tools");
        let found = programs(&package("/p/dom0-tools/cli/Cargo.toml", "bin"), below);
        assert_eq!(found, Some(("cli".to_owned(), vec!["xlr".to_owned()])));
        assert_eq!(programs(&package("/p/dom0-tools/cli/Cargo.toml", "lib"), below), None);
        assert_eq!(programs(&package("/p/xtask/Cargo.toml", "bin"), below), None);
    }
}
