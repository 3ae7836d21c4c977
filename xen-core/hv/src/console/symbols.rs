//! The image's own symbol table, which the build puts behind the image: addresses to function names.
//!
//! At `__ksyms`: the magic `PVSYMS01`, the number of symbols and the table's length in bytes (32 bits each), then for
//! each symbol its distance from the image's first byte and the place of its name (32 bits each, by ascending
//! distance), then the names, each after a byte with its length. An image straight from the linker has zeros there.

use crate::mm::layout::IMAGE;
use core::fmt;

const MAGIC: u64 = u64::from_le_bytes(*b"PVSYMS01");
const HEADER: usize = 16;

unsafe extern "C" {
    static __ksyms: [u32; 4];
    static __text_end: u8;
}

/// Bytes of the table, header included.
pub fn table_len() -> u64 {
    // SAFETY: the linker script keeps at least the header there.
    let [low, high, _, len] = unsafe { __ksyms };
    if (high as u64) << 32 | low as u64 == MAGIC {
        len as u64
    } else {
        HEADER as u64
    }
}

fn table() -> &'static [u8] {
    // SAFETY: the image is mapped as far as its table says; nobody writes it.
    unsafe { core::slice::from_raw_parts((&raw const __ksyms).cast(), table_len() as usize) }
}

fn word(table: &[u8], at: usize) -> Option<usize> {
    let bytes = table.get(at..at + 4)?;
    Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize)
}

/// Is `addr` in the image's code?
pub fn is_text(addr: u64) -> bool {
    (IMAGE..&raw const __text_end as u64).contains(&addr)
}

/// The function that `addr` is in, and how far in.
fn lookup(addr: u64) -> Option<(&'static str, u64)> {
    let (table, at) = (table(), addr.checked_sub(IMAGE)? as usize);
    let (mut low, mut high) = (0, if table.len() > HEADER { word(table, 8)? } else { 0 });
    // The last symbol that does not begin after the address is below `low`.
    while low < high {
        let middle = low + (high - low) / 2;
        if word(table, HEADER + 8 * middle)? <= at {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    let entry = HEADER + 8 * low.checked_sub(1)?;
    let name = word(table, entry + 4)?;
    let text = table.get(name + 1..)?.get(..*table.get(name)? as usize)?;
    Some((core::str::from_utf8(text).ok()?, (at - word(table, entry)?) as u64))
}

/// A code address, shown with its function's name.
pub struct Symbol(pub u64);

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match lookup(self.0).filter(|_| is_text(self.0)) {
            Some((name, offset)) => write!(f, "{:016x} {name}+{offset:#x}", self.0),
            None => write!(f, "{:016x}", self.0),
        }
    }
}
