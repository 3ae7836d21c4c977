//! Kernel modules for Dom0's RAM disk, with what they depend on, and the indexes that `modprobe` reads.
//! The kernel's package has no indexes (they are made at installation), so the modules tell themselves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use object::{Object, ObjectSection};

use super::cpio::Archive;
use super::payload;
use crate::workspace;

/// Dom0's own: loaded by name or by the alias of a device that is there.
pub const DOM0: &[&str] = &[
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
    "e1000",
    "ahci",
    "sd_mod",
    "sr_mod",
    "ext4",
    "crc32c_generic",
    "xenfs",
    "xen_evtchn",
    "xen_gntdev",
];

/// What the tools need besides: backends, bridges, loop devices, address translation.
pub const TOOLS: &[&str] = &[
    "xen_privcmd",
    "xen_gntalloc",
    "xen_blkback",
    "xen_netback",
    "bridge",
    "brd",
    "loop",
    "tun",
    "veth",
    "nf_tables",
    "nft_chain_nat",
    "nft_masq",
];

/// A Linux guest's.
pub const GUEST: &[&str] = &["xen_blkfront", "xen_netfront", "ext4", "crc32c_generic"];

/// One module, as it lies in the RAM disk.
#[derive(Debug)]
pub struct Module {
    /// Path below `/lib/modules/VERSION`, without a compression's ending.
    pub path: String,
    /// The decompressed object file.
    pub object: Vec<u8>,
    depends: Vec<String>,
    aliases: Vec<String>,
}

/// Modules by name, `-` written as `_`.
pub type Set = BTreeMap<String, Module>;

/// The modules we want, with their dependencies. A missing one is left out: it may be built in.
pub fn collect(dir: &Path, wanted: &[&str]) -> Result<Set> {
    let mut files = BTreeMap::new();
    index(dir, &mut files)?;
    let mut set = Set::new();
    let mut open: Vec<String> = wanted.iter().map(|&name| name.to_owned()).collect();
    while let Some(name) = open.pop() {
        let Some(file) = files.get(&name).filter(|_| !set.contains_key(&name)) else {
            continue;
        };
        let module = load(dir, file)?;
        open.extend(module.depends.iter().cloned());
        set.insert(name, module);
    }
    Ok(set)
}

/// Every module file below `dir`, by module name.
fn index(dir: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            index(&path, files)?;
        } else if let Some((name, "ko" | "ko.xz" | "ko.zst" | "ko.gz")) = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.split_once('.'))
        {
            files.insert(name.replace('-', "_"), path);
        }
    }
    Ok(())
}

fn load(base: &Path, file: &Path) -> Result<Module> {
    let bytes = workspace::read(file)?;
    let object = payload::decompress(&bytes).with_context(|| format!("module {}", file.display()))?;
    let info = modinfo(&object).with_context(|| format!("module {}", file.display()))?;
    let values = |key: &str| {
        info.iter()
            .filter(|(k, _)| k == key)
            .map(|(_, v)| v.clone())
            .collect::<Vec<_>>()
    };
    let depends = values("depends").join(",");
    let inside = file.strip_prefix(base)?.to_string_lossy().into_owned();
    let path = inside
        .find(".ko")
        .map_or(inside.clone(), |at| inside[..at + 3].to_owned());
    Ok(Module {
        path,
        object,
        depends: depends
            .split(',')
            .filter(|name| !name.is_empty())
            .map(|name| name.replace('-', "_"))
            .collect(),
        aliases: values("alias"),
    })
}

/// The `key=value` pairs of a module's `.modinfo` section.
fn modinfo(bytes: &[u8]) -> Result<Vec<(String, String)>> {
    let file = object::File::parse(bytes)?;
    let section = file.section_by_name(".modinfo").context("no .modinfo section")?;
    let data = section.data()?;
    let lines = data.split(|&byte| byte == 0).map(String::from_utf8_lossy);
    Ok(lines
        .filter_map(|line| line.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())))
        .collect())
}

/// Puts modules and their indexes where `modprobe` looks for them.
pub fn install(set: &Set, version: &str, archive: &mut Archive) {
    let base = format!("lib/modules/{version}");
    archive.folders(&base);
    for module in set.values() {
        let path = format!("{base}/{}", module.path);
        archive.folders(path.rsplit_once('/').map_or(&base, |(folder, _)| folder));
        archive.file(&path, 0o644, &module.object);
    }
    let mut index = |name: &str, text: String| archive.file(&format!("{base}/{name}"), 0o644, text.as_bytes());
    index("modules.dep", dependency_index(set));
    index("modules.alias", alias_index(set));
}

/// `modules.dep`: each module and all that must be loaded before it.
fn dependency_index(set: &Set) -> String {
    let mut out = String::new();
    for (name, module) in set {
        let mut order = Vec::new();
        chain(set, name, &mut order);
        let paths: Vec<&str> = order.iter().rev().skip(1).map(|name| set[name].path.as_str()).collect();
        out += &format!("{}: {}\n", module.path, paths.join(" "));
    }
    out
}

/// Dependencies first, `name` last, none twice.
fn chain(set: &Set, name: &str, order: &mut Vec<String>) {
    if order.iter().any(|known| known == name) {
        return;
    }
    if let Some(module) = set.get(name) {
        for needed in &module.depends {
            chain(set, needed, order);
        }
        order.push(name.to_owned());
    }
}

/// `modules.alias`: which module drives a device.
fn alias_index(set: &Set) -> String {
    let lines = set
        .iter()
        .flat_map(|(name, module)| module.aliases.iter().map(move |a| format!("alias {a} {name}\n")));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(path: &str, depends: &[&str], aliases: &[&str]) -> Module {
        let own = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        Module {
            path: path.to_owned(),
            object: Vec::new(),
            depends: own(depends),
            aliases: own(aliases),
        }
    }

    #[test]
    fn dependencies_are_named_nearest_first() {
        let mut set = Set::new();
        set.insert("a".to_owned(), module("a.ko", &["b", "c"], &["pci:x"]));
        set.insert("b".to_owned(), module("b.ko", &["c"], &[]));
        set.insert("c".to_owned(), module("c.ko", &[], &[]));
        assert_eq!(dependency_index(&set), "a.ko: b.ko c.ko\nb.ko: c.ko\nc.ko: \n");
        assert_eq!(alias_index(&set), "alias pci:x a\n");
    }

    #[test]
    fn a_dependency_that_is_built_in_is_left_out() {
        let mut set = Set::new();
        set.insert("a".to_owned(), module("a.ko", &["builtin"], &[]));
        assert_eq!(dependency_index(&set), "a.ko: \n");
    }
}
