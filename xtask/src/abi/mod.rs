//! `cargo xtask abi`: docs/abi.md, every operation of Xen's interface with its state here and the tests that use it.
//!
//! Nothing in it is written by hand but the notes (`notes.rs`): operations come from `xen-abi`, their states from the
//! hypervisor's tables of operations, the tests from the sources that name them. The lint compares the page with what
//! would be written now.

mod notes;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Result, bail};

use crate::progress::note;
use crate::{lint, workspace};
use notes::{FAMILIES, Family, LINUX, NOTES};

const PAGE: &str = "docs/abi.md";

/// Where tests stand that name operations, and the case that runs them.
const TESTS: &[(&str, &str)] = &[
    ("tests/kernels/src/bin/foreign/", "boot kernel-foreign"),
    ("tests/kernels/src/bin/grants/", "boot kernel-grants"),
    ("tests/kernels/src/bin/rare/", "boot kernel-rare"),
    ("tests/kernels/src/bin/smap/", "boot kernel-smap"),
    ("tests/kernels/src/bin/churn.rs", "boot kernel-churn-2"),
    ("pv-frontends/guest-rt/src/", "boot kernel-churn-2"),
    ("dom0-tools/", "boot guests"),
];
/// What boots of Linux use.
const LINUX_CASE: &str = "boot loads-2";

/// How much of an operation there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Whole,
    Partial,
    Absent,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            State::Whole => "whole",
            State::Partial => "partial",
            State::Absent => "absent",
        }
    }
}

/// A file and its text.
type Source = (String, String);

fn read(path: &str) -> Result<String> {
    Ok(String::from_utf8_lossy(&workspace::read(&workspace::root().join(path))?).into_owned())
}

/// Does the text name this constant, and not just one that begins or ends with it?
fn names(text: &str, constant: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(constant).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + constant.len()..]);
        !before.ends_with(part) && !after.starts_with(part)
    })
}

/// The operations of a family in the text of `xen-abi`: name and number, in order of numbers.
fn operations(abi: &str, family: &Family) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for line in abi.lines() {
        let Some((constant, rest)) = line.trim().split_once(" = ") else {
            continue;
        };
        let Some(name) = constant.strip_prefix(family.prefix) else {
            continue;
        };
        let number = rest.trim_end_matches(';').split(',').next().unwrap_or_default().trim();
        let lower = name.starts_with(|c: char| c.is_ascii_lowercase());
        let upper_is_fine = family.upper && name.starts_with(|c: char| c.is_ascii_uppercase());
        if (lower || upper_is_fine)
            && !family.not.iter().any(|not| name.starts_with(not))
            && let Ok(number) = number.parse()
        {
            found.push((constant.to_owned(), number));
        }
    }
    found.sort_by_key(|(_, number)| *number);
    found
}

/// The part of a family's table of operations that carries them out.
fn table(family: &Family) -> Result<String> {
    let mut text = String::new();
    for file in family.files {
        let whole = read(&format!("xen-core/hv/src/hypercall/{file}"))?;
        let end = family.until.and_then(|until| whole.find(until)).unwrap_or(whole.len());
        text.push_str(&whole[..end]);
    }
    Ok(text)
}

fn state(constant: &str, table: &str) -> (State, &'static str) {
    if let Some((_, state, text)) = NOTES.iter().find(|(name, ..)| *name == constant) {
        return (*state, text);
    }
    let served = names(table, constant);
    (if served { State::Whole } else { State::Absent }, "")
}

/// The cases that use an operation.
fn tests(constant: &str, sources: &[Source]) -> String {
    let mut cases = BTreeSet::new();
    for (path, text) in sources {
        let case = TESTS.iter().find(|(at, _)| path.starts_with(at));
        if let Some((_, case)) = case.filter(|_| names(text, constant)) {
            cases.insert(*case);
        }
    }
    if LINUX.contains(&constant) {
        cases.insert(LINUX_CASE);
    }
    let cases: Vec<String> = cases.iter().map(|case| format!("`{case}`")).collect();
    cases.join(", ")
}

/// The page as it should be.
///
/// # Errors
/// Where a source cannot be read, or a note or a list is about an operation that there is not.
pub fn page() -> Result<String> {
    let (mut abi, mut sources) = (String::new(), Vec::new());
    for path in lint::sources(&["rs"])? {
        let name = path.to_string_lossy().into_owned();
        if name.starts_with("xen-core/abi/src/") {
            abi.push_str(&read(&name)?);
        } else if TESTS.iter().any(|(at, _)| name.starts_with(at)) {
            sources.push((name.clone(), read(&name)?));
        }
    }
    let mut page = String::from(notes::HEAD);
    let mut known = BTreeSet::new();
    for family in FAMILIES {
        let table = table(family)?;
        let _ = write!(
            page,
            "\n## {}\n\n| number | operation | state | used by | note |\n|---|---|---|---|---|\n",
            family.title
        );
        for (constant, number) in operations(&abi, family) {
            let (state, text) = state(&constant, &table);
            let used = if state == State::Absent {
                String::new()
            } else {
                tests(&constant, &sources)
            };
            let name = constant.strip_prefix(family.prefix).unwrap_or(&constant);
            let _ = writeln!(page, "| {number} | {name} | {} | {used} | {text} |", state.name());
            known.insert(constant);
        }
    }
    let strangers = NOTES.iter().map(|(name, ..)| *name).chain(LINUX.iter().copied());
    let strangers: Vec<&str> = strangers.filter(|name| !known.contains(*name)).collect();
    if !strangers.is_empty() {
        bail!("xtask/src/abi/notes.rs is about operations that xen-abi has not: {strangers:?}");
    }
    Ok(page)
}

/// Writes the page.
///
/// # Errors
/// As [`page`]; where it cannot be written.
pub fn write() -> Result<()> {
    std::fs::write(workspace::root().join(PAGE), page()?)?;
    note(format!("{PAGE} is written"));
    Ok(())
}

/// The page without the column of tests, which grows with every test that uses an operation: that much may be old.
fn without_tests(page: &str) -> Vec<String> {
    let row = |line: &str| {
        let mut cells: Vec<&str> = line.split('|').collect();
        if cells.len() > 5 {
            cells.remove(4);
        }
        cells.join("|")
    };
    page.lines().map(row).collect()
}

/// What is wrong with the page as it stands, if anything is.
///
/// # Errors
/// As [`page`].
pub fn complaint() -> Result<Option<String>> {
    let exists = Path::new(&workspace::root().join(PAGE)).exists();
    let stands = if exists { read(PAGE)? } else { String::new() };
    let same = without_tests(&stands) == without_tests(&page()?);
    Ok((!same).then(|| format!("{PAGE} is not what `cargo xtask abi` writes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_as_a_whole_only() {
        assert!(names("abi::XENMEM_exchange =>", "XENMEM_exchange"));
        assert!(!names("XENMEM_exchange_more", "XENMEM_exchange"));
        assert!(!names("_XENMEM_exchange", "XENMEM_exchange"));
    }

    #[test]
    fn an_operation_whose_state_is_another_is_noticed() {
        let row = |state: &str, test: &str| without_tests(&format!("| 1 | a | {state} | {test} | |"));
        assert_eq!(row("whole", "`x`"), row("whole", "`x`, `y`"));
        assert_ne!(row("whole", "`x`"), row("absent", "`x`"));
    }

    #[test]
    fn the_page_is_current() {
        assert_eq!(complaint().unwrap(), None);
    }

    #[test]
    fn operations_that_are_served_and_some_that_are_not_are_told_apart() {
        let page = page().unwrap();
        for line in [
            "| 10 | shadow_op | whole |",
            "| 18 | setdebugging | absent |",
            "| 1 | mmu_update | whole |",
        ] {
            assert!(page.contains(line), "{line}");
        }
    }
}
