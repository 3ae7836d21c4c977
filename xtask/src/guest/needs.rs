//! What a guest needs of the machine around it: `[package.metadata.guest]` in its Cargo.toml.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{command, workspace};

/// A guest of `pv-frontends/guests`, and its needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Its name, without `guest-`.
    pub name: String,
    /// MiB.
    pub memory: u64,
    /// Virtual CPUs.
    pub vcpus: u64,
    /// MiB of its disk; 0 for none.
    pub disk: u64,
    /// A network card.
    pub net: bool,
    /// Somebody is to type at its console.
    pub interactive: bool,
    /// Other guests that its counterpart in Dom0 starts.
    pub beside: Vec<String>,
    /// Words of its command line.
    pub extra: String,
}

/// Packages of guests are called by this and their folder.
const PREFIX: &str = "guest-";

fn packages() -> Result<Vec<Value>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut line = Command::new(cargo);
    line.current_dir(workspace::root())
        .args(["metadata", "--no-deps", "--format-version", "1"]);
    let mut metadata: Value =
        serde_json::from_str(&command::capture(&mut line)?).context("cargo metadata speaks no JSON")?;
    match metadata["packages"].take() {
        Value::Array(packages) => Ok(packages),
        _ => bail!("cargo metadata names no packages"),
    }
}

/// All guests there are.
pub fn all() -> Result<Vec<Needs>> {
    Ok(packages()?.iter().filter_map(of_package).collect())
}

/// Packages that are no programs of this machine: guests, their runtime, kernels. Each brings its own panic handler, so
/// that none is compiled together with what uses the standard library.
pub fn without_system() -> Result<Vec<String>> {
    let is_one = |name: &&str| name.starts_with(PREFIX) || *name == "test-kernels";
    let packages = packages()?;
    let names = packages.iter().filter_map(|package| package["name"].as_str());
    Ok(names.filter(is_one).map(str::to_owned).collect())
}

fn of_package(package: &Value) -> Option<Needs> {
    let name = package["name"].as_str()?.strip_prefix(PREFIX)?.to_owned();
    let needs = package["metadata"].get("guest")?;
    let number = |key: &str, otherwise| needs[key].as_u64().unwrap_or(otherwise);
    Some(Needs {
        name,
        memory: number("memory", 16),
        vcpus: number("vcpus", 1),
        disk: number("disk", 0),
        net: needs["net"].as_bool().unwrap_or(false),
        interactive: needs["interactive"].as_bool().unwrap_or(false),
        beside: needs["beside"]
            .as_array()
            .map(|list| list.iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect())
            .unwrap_or_default(),
        extra: needs["extra"].as_str().unwrap_or_default().to_owned(),
    })
}

/// A guest by its name.
pub fn find(name: &str) -> Result<Needs> {
    let guests = all()?;
    let names: Vec<&str> = guests.iter().map(|needs| needs.name.as_str()).collect();
    let known = names.join(", ");
    match guests.iter().find(|needs| needs.name == name) {
        Some(needs) => Ok(needs.clone()),
        None => bail!("no guest is called {name}; there are {known}, and `cargo xtask new-guest {name}` makes it"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn needs_are_read_from_the_manifest() {
        let package =
            json!({ "name": "guest-x", "metadata": { "guest": { "memory": 32, "net": true, "extra": "a b" } } });
        let needs = of_package(&package).unwrap();
        assert_eq!(
            (needs.name.as_str(), needs.memory, needs.vcpus, needs.disk),
            ("x", 32, 1, 0)
        );
        assert!(needs.net && !needs.interactive && needs.extra == "a b");
        assert_eq!(of_package(&json!({ "name": "guest-rt", "metadata": null })), None);
        assert_eq!(
            of_package(&json!({ "name": "xtask", "metadata": { "guest": {} } })),
            None
        );
    }
}
