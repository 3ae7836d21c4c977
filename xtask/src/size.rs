//! `cargo xtask size`: lines of source and bytes of image, by module.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::image::{self, symbols};
use crate::{lint, workspace};

/// Counts of one module.
#[derive(Debug, Default)]
struct Count {
    files: usize,
    lines: usize,
    code: usize,
    bytes: u64,
}

/// A file's module: crate, then the first folder or file below its source.
fn module_of(file: &str) -> String {
    let Some((krate, inside)) = file.split_once("/src/") else {
        return file.rsplit_once('/').map_or(file, |(folder, _)| folder).to_owned();
    };
    let first = inside.split('/').next().unwrap_or_default();
    format!("{krate} {}", first.rsplit_once('.').map_or(first, |(stem, _)| stem))
}

/// Bytes of code by the hypervisor's modules; what is compiled from elsewhere goes by its crate.
fn image_bytes() -> Result<BTreeMap<String, u64>> {
    let elf64 = workspace::read(&image::up_to_date()?.elf64)?;
    let file = object::File::parse(&*elf64)?;
    let mut bytes = BTreeMap::new();
    for symbol in symbols::code(&file) {
        let name = symbol.name.trim_start_matches(['<', '&']);
        let mut path = name.split("::");
        let key = match (path.next().unwrap_or_default(), path.next()) {
            ("xen_hv", Some(module)) => format!("xen-core/hv {module}"),
            ("xen_logic", Some(module)) => format!("xen-core/logic {module}"),
            (krate, Some(_)) => format!("crate {krate}"),
            (_, None) => "assembly and others".to_owned(),
        };
        *bytes.entry(key).or_insert(0) += symbol.size;
    }
    Ok(bytes)
}

/// `cargo xtask size`.
pub fn size() -> Result<()> {
    let mut modules: BTreeMap<String, Count> = BTreeMap::new();
    for file in lint::sources(&["rs", "s", "S"])? {
        let text = String::from_utf8_lossy(&workspace::read(&workspace::root().join(&file))?).into_owned();
        let count = modules.entry(module_of(&file.to_string_lossy())).or_default();
        let is_code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
        count.files += 1;
        count.lines += text.lines().count();
        count.code += text.lines().filter(is_code).count();
    }
    for (name, bytes) in image_bytes()? {
        modules.entry(name).or_default().bytes += bytes;
    }
    println!(
        "{:<40} {:>6} {:>8} {:>8} {:>10}",
        "module", "files", "lines", "code", "bytes"
    );
    let mut total = Count::default();
    for (name, count) in &modules {
        println!(
            "{name:<40} {:>6} {:>8} {:>8} {:>10}",
            count.files, count.lines, count.code, count.bytes
        );
        total.files += count.files;
        total.lines += count.lines;
        total.code += count.code;
        total.bytes += count.bytes;
    }
    println!(
        "{:<40} {:>6} {:>8} {:>8} {:>10}",
        "all", total.files, total.lines, total.code, total.bytes
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::module_of;

    #[test]
    fn modules_are_the_first_level_below_a_crate() {
        assert_eq!(module_of("xen-core/hv/src/mm/pt/walk.rs"), "xen-core/hv mm");
        assert_eq!(module_of("xen-core/abi/src/lib.rs"), "xen-core/abi lib");
    }
}
