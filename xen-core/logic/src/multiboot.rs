//! What the loader says: Multiboot 1 and 2 information, read through bounded views of memory.
//!
//! The structures lie anywhere below 4 GiB; a [`Memory`] gives the bytes at an address, or nothing.

use crate::e820::{Kind, Range};

/// Access to the loader's memory.
pub trait Memory {
    /// The `len` bytes at machine address `addr`, if they can be read.
    fn bytes(&self, addr: u64, len: usize) -> Option<&[u8]>;

    /// The text at `addr` up to its zero byte, at most `max` bytes of it.
    fn text(&self, addr: u64, max: usize) -> Option<&[u8]> {
        // The end of memory may be nearer than `max`.
        let mut len = max;
        let bytes = loop {
            match self.bytes(addr, len) {
                Some(bytes) => break bytes,
                None if len > 1 => len /= 2,
                None => return None,
            }
        };
        Some(&bytes[..bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len())])
    }
}

/// `eax` at entry from a Multiboot 1 loader.
pub const MAGIC1: u32 = 0x2bad_b002;
/// `eax` at entry from a Multiboot 2 loader.
pub const MAGIC2: u32 = 0x36d7_6289;

/// Longest command line taken.
pub const MAX_CMDLINE: usize = 2048;

/// Takes the pieces of the information as they are found.
pub trait Visitor<'a> {
    /// The image's own command line.
    fn cmdline(&mut self, text: &'a [u8]);
    /// A module: machine addresses, and its command line.
    fn module(&mut self, start: u64, end: u64, cmdline: &'a [u8]);
    /// A range of the firmware's memory map.
    fn range(&mut self, range: Range);
    /// A copy of ACPI's root pointer.
    fn rsdp(&mut self, bytes: &'a [u8]);
    /// The loader's name.
    fn loader(&mut self, text: &'a [u8]);
}

/// Why the information is unusable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// Not a Multiboot loader.
    Magic,
    /// Information outside memory, or cut short.
    Truncated,
    /// The loader passed no memory map.
    NoMemoryMap,
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Error::Magic => "not started by a Multiboot loader",
            Error::Truncated => "the loader's information is cut short",
            Error::NoMemoryMap => "the loader passed no memory map",
        })
    }
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..at.checked_add(4)?)
        .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

fn long(data: &[u8], at: usize) -> Option<u64> {
    Some(word(data, at)? as u64 | (word(data, at + 4)? as u64) << 32)
}

/// A range as the firmware gives it; one that wraps is cut.
fn make_range(start: u64, len: u64, kind: u32) -> Range {
    Range {
        start,
        end: start.saturating_add(len),
        kind: Kind(kind),
    }
}

/// Reads the information at `addr`, in the form that `magic` announces.
///
/// # Errors
/// See [`Error`]. Pieces found before the error have been visited.
pub fn read<'a>(magic: u32, addr: u64, memory: &'a dyn Memory, to: &mut dyn Visitor<'a>) -> Result<(), Error> {
    match magic {
        MAGIC1 => read1(addr, memory, to),
        MAGIC2 => read2(addr, memory, to),
        _ => Err(Error::Magic),
    }
}

fn read1<'a>(addr: u64, memory: &'a dyn Memory, to: &mut dyn Visitor<'a>) -> Result<(), Error> {
    let info = memory.bytes(addr, 88).ok_or(Error::Truncated)?;
    let field = |at| word(info, at).unwrap_or(0);
    let flags = field(0);
    if flags & 1 << 2 != 0 {
        to.cmdline(memory.text(field(16).into(), MAX_CMDLINE).ok_or(Error::Truncated)?);
    }
    if flags & 1 << 9 != 0 {
        to.loader(memory.text(field(64).into(), 64).unwrap_or(b""));
    }
    if flags & 1 << 3 != 0 {
        read1_modules(field(24).into(), field(20), memory, to)?;
    }
    if flags & 1 << 6 == 0 {
        return Err(Error::NoMemoryMap);
    }
    let map = memory
        .bytes(field(48).into(), field(44) as usize)
        .ok_or(Error::Truncated)?;
    let mut at = 0;
    // Each entry begins with its own length, which does not count itself.
    while let (Some(len), Some(start), Some(size), Some(kind)) =
        (word(map, at), long(map, at + 4), long(map, at + 12), word(map, at + 20))
    {
        to.range(make_range(start, size, kind));
        at = at.saturating_add(len as usize).saturating_add(4);
    }
    Ok(())
}

fn read1_modules<'a>(list: u64, count: u32, memory: &'a dyn Memory, to: &mut dyn Visitor<'a>) -> Result<(), Error> {
    let list = memory
        .bytes(list, (count as usize).saturating_mul(16))
        .ok_or(Error::Truncated)?;
    for entry in list.chunks_exact(16) {
        let field = |at| u64::from(word(entry, at).unwrap_or(0));
        let text = if field(8) == 0 {
            Some(&b""[..])
        } else {
            memory.text(field(8), MAX_CMDLINE)
        };
        to.module(field(0), field(4), text.ok_or(Error::Truncated)?);
    }
    Ok(())
}

/// The text of a tag, without its terminator.
fn tag_text(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len())]
}

fn read2<'a>(addr: u64, memory: &'a dyn Memory, to: &mut dyn Visitor<'a>) -> Result<(), Error> {
    let head = memory.bytes(addr, 8).ok_or(Error::Truncated)?;
    let total = word(head, 0).unwrap_or(0) as usize;
    let info = memory.bytes(addr, total).ok_or(Error::Truncated)?;
    let (mut at, mut has_map) = (8, false);
    loop {
        let (kind, len) = word(info, at).zip(word(info, at + 4)).ok_or(Error::Truncated)?;
        if kind == 0 {
            break;
        }
        let tag = info
            .get(at..)
            .and_then(|t| t.get(8..len as usize))
            .ok_or(Error::Truncated)?;
        match kind {
            1 => to.cmdline(tag_text(tag)),
            2 => to.loader(tag_text(tag)),
            3 => {
                let (start, end) = word(tag, 0).zip(word(tag, 4)).ok_or(Error::Truncated)?;
                to.module(start.into(), end.into(), tag_text(&tag[8..]));
            }
            6 => {
                has_map = true;
                read2_map(tag, to)?;
            }
            14 | 15 => to.rsdp(tag),
            _ => {}
        }
        at += (len as usize).div_ceil(8) * 8;
    }
    if has_map { Ok(()) } else { Err(Error::NoMemoryMap) }
}

fn read2_map<'a>(tag: &'a [u8], to: &mut dyn Visitor<'a>) -> Result<(), Error> {
    let size = word(tag, 0).filter(|s| *s >= 20).ok_or(Error::Truncated)? as usize;
    for e in tag.get(8..).unwrap_or(&[]).chunks_exact(size) {
        if let (Some(start), Some(len), Some(kind)) = (long(e, 0), long(e, 8), word(e, 16)) {
            to.range(make_range(start, len, kind));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "multiboot_tests.rs"]
mod tests;
