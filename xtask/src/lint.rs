//! `cargo xtask lint`: rules of the house that neither the compiler nor clippy knows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::progress::note;
use crate::test::cases;
use crate::{abi, workspace};

const LINES_MAX: usize = 600;

/// Where unsafe code may stand.
const UNSAFE_PLACES: &[&str] = &[
    "xen-core/hv/src/",
    "pv-frontends/guest-rt/",
    "pv-frontends/guests/abuse/",
    "pv-frontends/guests/bench/",
    "pv-frontends/guests/iodom/src/door.rs",
    "pv-frontends/guests/iodom/src/virtio/",
    "pv-frontends/pv-hal/",
    "dom0-tools/privcmd/",
    "tests/dom0-load/",
    "tests/kernels/",
];

/// Where assembly may stand: the hypervisor's is all below `arch`.
const ASM_PLACES: &[&str] = &[
    "xen-core/hv/src/arch/",
    "pv-frontends/guest-rt/",
    "pv-frontends/guests/abuse/",
    "pv-frontends/guests/bench/",
    "pv-frontends/pv-hal/",
    "dom0-tools/privcmd/",
    "tests/dom0-load/src/arch/",
    "tests/kernels/",
];

/// Floating point would bring vector code into the image.
const NO_FLOAT: &[&str] = &["xen-core/kernel-image/", "xen-core/logic/", "xen-core/hv/"];

/// Which of our crates a crate may use; the folder decides.
const MAY_USE: &[(&str, &[&str])] = &[
    ("xen-core/abi/", &[]),
    ("xen-core/kernel-image/", &["xen-abi"]),
    ("xen-core/logic/", &["kernel-image", "xen-abi"]),
    ("xen-core/hv/", &["kernel-image", "xen-abi", "xen-logic"]),
    ("tests/kernels/", &["xen-abi", "guest-rt"]),
    ("tests/dom0-load/", &[]),
];

/// What tools and frontends must never see.
const INSIDE: &[&str] = &["xen-logic", "xen-hv"];

/// Source files of the project, relative to its root.
pub fn sources(endings: &[&str]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for top in ["xen-core", "dom0-tools", "pv-frontends", "tests", "xtask"] {
        walk(&workspace::root().join(top), endings, &mut files)?;
    }
    let root = workspace::root();
    let mut files: Vec<PathBuf> = files
        .iter()
        .filter_map(|file| Some(file.strip_prefix(&root).ok()?.into()))
        .collect();
    files.sort();
    Ok(files)
}

fn walk(dir: &Path, endings: &[&str], files: &mut Vec<PathBuf>) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "target" {
                walk(&path, endings, files)?;
            }
        } else if path
            .extension()
            .is_some_and(|ext| endings.iter().any(|ending| ext == *ending))
        {
            files.push(path);
        }
    }
    Ok(())
}

/// A line's words, without comments and the insides of strings.
fn words(line: &str) -> BTreeSet<&str> {
    let code = line.split("//").next().unwrap_or_default();
    let outside = code.split('"').step_by(2);
    outside
        .flat_map(|part| part.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '!'))
        .collect()
}

fn is_in(file: &str, places: &[&str]) -> bool {
    places.iter().any(|place| file.starts_with(place))
}

/// Complaints about one source file.
fn check_source(file: &str, text: &str, complaints: &mut Vec<String>) {
    let count = text.lines().count();
    if count > LINES_MAX {
        complaints.push(format!("{file}: {count} lines; {LINES_MAX} are the most"));
    }
    if !file.ends_with(".rs") {
        if !is_in(file, ASM_PLACES) {
            complaints.push(format!("{file}: assembly outside of the places named for it"));
        }
        return;
    }
    // Tests run on the host, so they may compute as they like.
    let tests_begin = match text.find("#[cfg(test)]\nmod ") {
        Some(at) => text[..at].lines().count(),
        None if file.ends_with("tests.rs") => 0,
        None => usize::MAX,
    };
    for (index, line) in text.lines().enumerate() {
        let words = words(line);
        let has = |word: &str| words.contains(word);
        let at = format!("{file}:{}", index + 1);
        if ["asm!", "global_asm!", "naked_asm!"].iter().any(|word| has(word)) && !is_in(file, ASM_PLACES) {
            complaints.push(format!("{at}: assembly outside of the places named for it"));
        }
        if (has("unsafe") || has("no_mangle") || has("link_section")) && !is_in(file, UNSAFE_PLACES) {
            complaints.push(format!("{at}: unsafe code outside of the crates named for it"));
        }
        if (has("f32") || has("f64")) && is_in(file, NO_FLOAT) && index < tests_begin {
            complaints.push(format!("{at}: floating point in the hypervisor"));
        }
    }
}

/// Complaints about one crate's dependencies.
fn check_manifest(file: &str, text: &str, complaints: &mut Vec<String>) {
    let mut in_dependencies = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            in_dependencies = line.contains("dependencies");
        } else if in_dependencies {
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default().trim();
            let ours = name.starts_with("xen-") && name != "xen-sys" || name == "guest-rt";
            let rule = MAY_USE.iter().find(|(place, _)| file.starts_with(place));
            let is_allowed = match rule {
                Some((_, allowed)) => allowed.contains(&name),
                None => !INSIDE.contains(&name),
            };
            if ours && !is_allowed {
                complaints.push(format!(
                    "{file}: must not use {name} (abi <- logic <- hv; others use abi only)"
                ));
            }
        }
    }
}

/// Tests that docs/specification.md names and that do not exist.
fn check_specification(specification: &str, functions: &BTreeSet<String>, complaints: &mut Vec<String>) {
    let rows = specification
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains('`'));
    for row in rows {
        let Some((_, tests)) = row.trim_end_matches([' ', '|']).rsplit_once(" | ") else {
            continue;
        };
        for test in tests.split('`').skip(1).step_by(2).filter(|test| *test != "build") {
            let exists = match test.strip_prefix("boot ") {
                Some(name) => cases::all().any(|case| case.name == name),
                None => functions.contains(test),
            };
            if !exists {
                complaints.push(format!("docs/specification.md: there is no test {test}"));
            }
        }
    }
}

/// The names of all functions in a source text.
fn function_names(text: &str) -> impl Iterator<Item = String> + '_ {
    let names = text
        .split("fn ")
        .skip(1)
        .map(|rest| rest.split(['(', '<']).next().unwrap_or_default());
    names.map(|name| name.trim().to_owned())
}

/// `cargo xtask lint`.
pub fn lint() -> Result<()> {
    let mut complaints = Vec::new();
    let files = sources(&["rs", "s", "S"])?;
    let mut functions = BTreeSet::new();
    for file in &files {
        let text = String::from_utf8_lossy(&workspace::read(&workspace::root().join(file))?).into_owned();
        check_source(&file.to_string_lossy(), &text, &mut complaints);
        functions.extend(function_names(&text));
    }
    for file in sources(&["toml"])?.iter().filter(|file| file.ends_with("Cargo.toml")) {
        let text = String::from_utf8_lossy(&workspace::read(&workspace::root().join(file))?).into_owned();
        check_manifest(&file.to_string_lossy(), &text, &mut complaints);
    }
    let specification = workspace::read(&workspace::root().join("docs/specification.md"))?;
    check_specification(&String::from_utf8_lossy(&specification), &functions, &mut complaints);
    complaints.extend(abi::complaint()?);
    if !complaints.is_empty() {
        bail!("the house rules are broken:\n  {}", complaints.join("\n  "));
    }
    note(format!("lint: {} files follow the rules of the house", files.len()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(file: &str, text: &str) -> usize {
        let mut list = Vec::new();
        if file.ends_with(".toml") {
            check_manifest(file, text, &mut list)
        } else {
            check_source(file, text, &mut list)
        }
        list.len()
    }

    #[test]
    fn unsafe_code_is_for_named_crates() {
        let text = "//! A file.\nfn f() { unsafe { g() } }\n";
        assert_eq!(complaints("xen-core/logic/src/a.rs", text), 1);
        assert_eq!(complaints("xen-core/hv/src/a.rs", text), 0);
        assert_eq!(
            complaints(
                "xtask/src/a.rs",
                "//! A.\n// unsafe\nlet s = \"unsafe\";\n#![deny(unsafe_code)]\n"
            ),
            0
        );
    }

    #[test]
    fn long_files_and_floats_are_found() {
        let long = format!("//! A file.\n{}", "\n".repeat(LINES_MAX));
        assert_eq!(complaints("xtask/src/a.rs", &long), 1);
        assert_eq!(complaints("xen-core/hv/src/a.rs", "//! A.\nlet x: f64 = y;\n"), 1);
        assert_eq!(complaints("xtask/src/a.rs", "//! A.\nlet x: f64 = y;\n"), 0);
    }

    #[test]
    fn tests_named_in_the_specification_exist() {
        let functions: BTreeSet<String> = function_names("fn here() {}\nfn generic<T>(t: T) {}").collect();
        let mut list = Vec::new();
        check_specification(
            "| A promise. | `boot smp1`, `here`, `generic`, `build` |\n",
            &functions,
            &mut list,
        );
        assert!(list.is_empty(), "{list:?}");
        check_specification("| A `word`. | `boot smp99`, `gone` |\n", &functions, &mut list);
        assert_eq!(list.len(), 2, "{list:?}");
    }

    #[test]
    fn dependencies_point_one_way() {
        let text = "[dependencies]\nxen-logic = { workspace = true }\nlog.workspace = true\n";
        assert_eq!(complaints("xen-core/abi/Cargo.toml", text), 1);
        assert_eq!(complaints("xen-core/hv/Cargo.toml", text), 0);
        assert_eq!(complaints("dom0-tools/cli/Cargo.toml", text), 1);
    }
}
