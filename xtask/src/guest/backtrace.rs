//! Names for the addresses of a guest's backtrace.

use std::path::Path;

use anyhow::Result;
use object::{Object, ObjectSymbol};

use crate::workspace;

/// What a guest prints before each return address.
const MARK: &str = "called from 0x";

/// The functions of an image, by address.
#[derive(Debug, Default)]
pub struct Names(Vec<(u64, String)>);

impl Names {
    /// Reads them from the linked image.
    pub fn of(image: &Path) -> Result<Self> {
        let bytes = workspace::read(image)?;
        let file = object::File::parse(&*bytes)?;
        let mut list: Vec<(u64, String)> = file
            .symbols()
            .filter(|symbol| symbol.is_definition() && symbol.kind() == object::SymbolKind::Text)
            .filter_map(|symbol| Some((symbol.address(), symbol.name().ok()?)))
            .map(|(address, name)| (address, format!("{:#}", rustc_demangle::demangle(name))))
            .collect();
        list.sort();
        Ok(Self(list))
    }

    fn of_address(&self, address: u64) -> Option<&str> {
        // A return address may lie behind the call that ends a function.
        let after = self.0.partition_point(|(start, _)| *start < address);
        Some(&self.0.get(after.checked_sub(1)?)?.1)
    }

    /// A line with the function's name behind it, where it is one of a backtrace.
    pub fn explain(&self, line: &str) -> String {
        let address = line.split_once(MARK).and_then(|(_, rest)| {
            let digits: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
            u64::from_str_radix(&digits, 16).ok()
        });
        match address.and_then(|address| self.of_address(address)) {
            Some(name) => format!("{line} {name}"),
            None => line.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn addresses_get_the_name_of_their_function() {
        let names = Names(vec![(0x1000, "first".to_owned()), (0x2000, "second".to_owned())]);
        let line = |address: &str| format!("guest: called from {address}");
        assert_eq!(names.explain(&line("0x1004")), line("0x1004 first"));
        assert_eq!(names.explain(&line("0x2000")), line("0x2000 first"));
        assert_eq!(names.explain(&line("0x2001")), line("0x2001 second"));
        assert_eq!(names.explain(&line("0x10")), line("0x10"));
        assert_eq!(names.explain("called 0x1004"), "called 0x1004");
    }
}
