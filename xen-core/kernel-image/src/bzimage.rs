//! Linux boot images: where the packed kernel lies in a bzImage, and how it is packed
//! (Documentation/arch/x86/boot.rst of Linux).

use core::fmt;

use crate::bytes::{slice_at, u16_at, u32_at};

/// How a kernel is packed, by its first bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packing {
    /// Not at all: it is the ELF file.
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

/// Why no kernel was found in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BzImageError {
    /// Neither ELF nor bzImage nor a packed ELF.
    Unknown,
    /// A boot protocol before 2.08, which does not say where the payload lies.
    TooOld(u16),
    /// The file ends before its payload does.
    Truncated,
    /// The payload is packed in a way that is not supported; its first four bytes.
    Packing([u8; 4]),
}

impl fmt::Display for BzImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => write!(f, "neither an ELF file nor a bzImage"),
            Self::TooOld(version) => write!(
                f,
                "a bzImage of boot protocol {}.{:02}; 2.08 or later is needed (Linux 2.6.26)",
                version >> 8,
                version & 0xff
            ),
            Self::Truncated => write!(f, "a truncated bzImage: it ends before its payload does"),
            Self::Packing(bytes) => write!(
                f,
                "a bzImage packed neither with xz, zstd, gzip nor lz4 (it begins with {bytes:02x?})"
            ),
        }
    }
}

impl core::error::Error for BzImageError {}

/// A kernel as a file has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Payload<'a> {
    /// How it is packed.
    pub packing: Packing,
    /// The packed bytes.
    pub data: &'a [u8],
    /// Bytes after unpacking, where a bzImage says so: an allegation like all the rest.
    pub unpacked_len: Option<u32>,
}

/// The kinds by their first bytes, none of them fewer than two.
const MAGICS: [(&[u8], Packing); 5] = [
    (b"\x7fELF", Packing::Plain),
    (b"\x1f\x8b", Packing::Gzip),
    (b"\xfd7zXZ\0", Packing::Xz),
    (b"\x28\xb5\x2f\xfd", Packing::Zstd),
    (b"\x02\x21\x4c\x18", Packing::Lz4),
];

fn packing(bytes: &[u8]) -> Option<Packing> {
    let kind = MAGICS.iter().find(|(magic, _)| bytes.starts_with(magic));
    kind.map(|(_, packing)| *packing)
}

/// The kernel in a file, which may be an ELF file, a packed ELF file or a bzImage.
///
/// # Errors
/// What else the file is.
pub fn find_payload(file: &[u8]) -> Result<Payload<'_>, BzImageError> {
    if let Some(packing) = packing(file) {
        return Ok(Payload {
            packing,
            data: file,
            unpacked_len: None,
        });
    }
    if file.get(0x202..0x206) != Some(b"HdrS") {
        return Err(BzImageError::Unknown);
    }
    let version = u16_at(file, 0x206).ok_or(BzImageError::Truncated)?;
    if version < 0x208 {
        return Err(BzImageError::TooOld(version));
    }
    // No count of setup sectors means four, from the days of boot sectors.
    let sectors = match file[0x1f1] {
        0 => 4,
        sectors => u64::from(sectors),
    };
    let find = || {
        let at = (sectors + 1) * 512 + u64::from(u32_at(file, 0x248)?);
        slice_at(file, at, u32_at(file, 0x24c)?.into())
    };
    describe(find().ok_or(BzImageError::Truncated)?)
}

/// Behind what is packed Linux's build writes the unpacked length in four bytes; gzip ends with them by itself.
fn describe(data: &[u8]) -> Result<Payload<'_>, BzImageError> {
    let (body, trailer) = data.split_last_chunk::<4>().ok_or(BzImageError::Truncated)?;
    let packing = packing(data).ok_or(BzImageError::Packing([data[0], data[1], data[2], data[3]]))?;
    let (data, unpacked_len) = match packing {
        Packing::Plain => (data, None),
        Packing::Gzip => (data, Some(u32::from_le_bytes(*trailer))),
        _ => (body, Some(u32::from_le_bytes(*trailer))),
    };
    Ok(Payload {
        packing,
        data,
        unpacked_len,
    })
}

#[cfg(test)]
#[path = "bzimage_tests.rs"]
mod tests;
