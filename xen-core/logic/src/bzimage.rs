//! Linux boot images: where the packed kernel lies in a bzImage, and how it is packed.

use crate::elf::{u16_at, u32_at};
use core::fmt;

/// How the kernel is packed, by the first bytes of the payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packing {
    /// Not at all: the payload is the ELF file.
    Plain,
    /// gzip.
    Gzip,
    /// xz, usually with the x86 filter.
    Xz,
    /// Zstandard.
    Zstd,
    /// LZ4 in its legacy frame.
    Lz4,
}

/// Why a bzImage cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BzImageError {
    /// No setup header: not a bzImage.
    NotBzImage,
    /// A boot protocol before 2.08, which does not say where the payload lies.
    TooOld(u16),
    /// The file ends before the end of the payload.
    Truncated,
    /// The payload is packed in a way that is not supported; its first four bytes.
    UnknownPacking([u8; 4]),
}

impl fmt::Display for BzImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BzImageError::NotBzImage => write!(f, "neither an ELF file nor a bzImage"),
            BzImageError::TooOld(version) => {
                write!(
                    f,
                    "bzImage has boot protocol {}.{:02}, needed is 2.08",
                    version >> 8,
                    version & 255
                )
            }
            BzImageError::Truncated => write!(f, "truncated bzImage: it ends before the end of its payload"),
            BzImageError::UnknownPacking([a, b, c, d]) => {
                write!(
                    f,
                    "bzImage payload is packed in an unknown way (it starts with {a:02x}{b:02x}{c:02x}{d:02x})"
                )
            }
        }
    }
}

/// A packed kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Payload<'a> {
    /// How it is packed.
    pub packing: Packing,
    /// The packed bytes.
    pub data: &'a [u8],
    /// Bytes after unpacking, as the image says: an allegation like all the rest.
    pub unpacked_len: usize,
}

/// Does this have a bzImage's setup header?
pub fn has_magic(bytes: &[u8]) -> bool {
    bytes.get(0x202..0x206) == Some(b"HdrS")
}

/// Finds the payload.
///
/// # Errors
/// What makes it unusable.
pub fn payload(bytes: &[u8]) -> Result<Payload<'_>, BzImageError> {
    if !has_magic(bytes) {
        return Err(BzImageError::NotBzImage);
    }
    let version = u16_at(bytes, 0x206).ok_or(BzImageError::Truncated)?;
    if version < 0x208 {
        return Err(BzImageError::TooOld(version));
    }
    // No count of setup sectors means four, from the days of boot sectors.
    let setup_sectors = match bytes[0x1f1] {
        0 => 4,
        n => usize::from(n),
    };
    let offset = u32_at(bytes, 0x248).ok_or(BzImageError::Truncated)? as usize;
    let len = u32_at(bytes, 0x24c).ok_or(BzImageError::Truncated)? as usize;
    let start = ((setup_sectors + 1) * 512)
        .checked_add(offset)
        .ok_or(BzImageError::Truncated)?;
    let end = start.checked_add(len).ok_or(BzImageError::Truncated)?;
    let data = bytes.get(start..end).ok_or(BzImageError::Truncated)?;
    describe(data)
}

/// The kinds by their first bytes.
const MAGICS: [(&[u8], Packing); 5] = [
    (b"\x7fELF", Packing::Plain),
    (b"\x1f\x8b", Packing::Gzip),
    (b"\xfd7zXZ\0", Packing::Xz),
    (b"\x28\xb5\x2f\xfd", Packing::Zstd),
    (b"\x02\x21\x4c\x18", Packing::Lz4),
];

/// Linux's build appends the unpacked length in four bytes (gzip's own trailer serves as that).
fn describe(data: &[u8]) -> Result<Payload<'_>, BzImageError> {
    let first: [u8; 4] = data
        .get(..4)
        .and_then(|b| b.try_into().ok())
        .ok_or(BzImageError::Truncated)?;
    let packing = MAGICS
        .iter()
        .find(|(magic, _)| data.starts_with(magic))
        .map(|(_, packing)| *packing);
    let packing = packing.ok_or(BzImageError::UnknownPacking(first))?;
    if packing == Packing::Plain {
        return Ok(Payload {
            packing,
            data,
            unpacked_len: data.len(),
        });
    }
    let tail = data.len() - 4;
    let unpacked_len = u32_at(data, tail).ok_or(BzImageError::Truncated)? as usize;
    let data = if packing == Packing::Gzip { data } else { &data[..tail] };
    Ok(Payload {
        packing,
        data,
        unpacked_len,
    })
}

#[cfg(test)]
#[path = "bzimage_tests.rs"]
mod tests;
