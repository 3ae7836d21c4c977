//! Symbols of the linked image: a list for xtask, and the table that the hypervisor reads for its backtraces.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

/// Start of the linked image; `link.ld` says the same.
pub const IMAGE_BASE: u64 = 0xffff_82d0_4000_0000;

const MAGIC: &[u8; 8] = b"PVSYMS01";
const NAME_MAX: usize = 120;

/// A symbol of the code.
#[derive(Clone, Debug)]
pub struct Symbol {
    /// Its link address.
    pub address: u64,
    /// Its size; zero for most of what comes from assembly.
    pub size: u64,
    /// Its name, as written in the source.
    pub name: String,
    /// Whether a compiler said that it is a function.
    pub is_function: bool,
}

/// A name without the compiler's hashes.
fn demangle(raw: &str) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(raw));
    // The current mangling writes a hash behind each crate's name.
    let mut out = String::new();
    let mut rest = name.as_str();
    while let Some(at) = rest.find('[') {
        let hash = rest
            .get(at + 1..at + 17)
            .filter(|hash| hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let end = if hash.is_some() && rest.as_bytes().get(at + 17) == Some(&b']') {
            at + 18
        } else {
            at + 1
        };
        out.push_str(&rest[..if end == at + 18 { at } else { end }]);
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// The symbols of all executable sections by address.
pub fn code(file: &object::File<'_>) -> Vec<Symbol> {
    let mut list: Vec<Symbol> = file
        .symbols()
        .filter(|symbol| {
            let section = symbol
                .section_index()
                .and_then(|index| file.section_by_index(index).ok());
            section.is_some_and(|section| section.kind() == object::SectionKind::Text)
        })
        .filter_map(|symbol| {
            let raw = symbol
                .name()
                .ok()
                .filter(|name| !name.is_empty() && !name.starts_with(".L"))?;
            let is_function = symbol.kind() == SymbolKind::Text && symbol.size() > 0;
            Some(Symbol {
                address: symbol.address(),
                size: symbol.size(),
                name: demangle(raw),
                is_function,
            })
        })
        .collect();
    list.sort_by_key(|symbol| (symbol.address, !symbol.is_function));
    list.dedup_by_key(|symbol| symbol.address);
    list
}

/// The address of one symbol, code or data.
pub fn address(elf64: &[u8], name: &str) -> Result<u64> {
    let file = object::File::parse(elf64)?;
    let found = file.symbols().find(|symbol| symbol.name() == Ok(name));
    found
        .map(|symbol| symbol.address())
        .with_context(|| format!("the image has no symbol {name}"))
}

/// The table that lies at `__ksyms`: magic, count, bytes; then (offset in the image, offset of the name) by address;
/// then the names, each behind its length.
pub fn table(file: &object::File<'_>) -> Result<Vec<u8>> {
    let symbols: Vec<Symbol> = code(file)
        .into_iter()
        .filter(|symbol| symbol.address >= IMAGE_BASE)
        .collect();
    let base = 16 + 8 * symbols.len();
    let mut entries = Vec::new();
    let mut names = Vec::new();
    let mut known = BTreeMap::new();
    for symbol in &symbols {
        let short = symbol.name.replace("xen_hv::", "");
        let short = short.as_bytes()[..short.len().min(NAME_MAX)].to_vec();
        let at = *known.entry(short.clone()).or_insert_with(|| {
            let at = base + names.len();
            names.push(short.len() as u8);
            names.extend_from_slice(&short);
            at
        });
        entries.extend_from_slice(&u32::try_from(symbol.address - IMAGE_BASE)?.to_le_bytes());
        entries.extend_from_slice(&u32::try_from(at)?.to_le_bytes());
    }
    if symbols.is_empty() {
        bail!("the linked image has no symbols");
    }
    let mut table = MAGIC.to_vec();
    table.extend_from_slice(&u32::try_from(symbols.len())?.to_le_bytes());
    table.extend_from_slice(&u32::try_from(base + names.len())?.to_le_bytes());
    table.extend(entries);
    table.extend(names);
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::demangle;

    #[test]
    fn hashes_are_taken_out() {
        assert_eq!(
            demangle("_ZN6xen_hv4boot5start17h0123456789abcdefE"),
            "xen_hv::boot::start"
        );
        assert_eq!(demangle("start32"), "start32");
        assert_eq!(demangle("a[0123456789abcdef]::b[3]"), "a::b[3]");
    }
}
