//! Linux boot images: where the packed kernel lies in a bzImage, and how it is packed
//! (Documentation/arch/x86/boot.rst of Linux).

use std::fmt;

use domain_builder::bytes::{slice_at, u16_at, u32_at};

/// How a kernel is packed, by the first bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Packing {
    /// Not at all.
    Plain,
    /// gzip.
    Gzip,
    /// xz.
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
    /// A boot protocol that does not say where the payload lies.
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
            Self::Packing(bytes) => {
                write!(
                    f,
                    "a bzImage packed neither with xz, zstd, gzip nor lz4 (it begins with {bytes:02x?})"
                )
            }
        }
    }
}

fn packing(bytes: &[u8]) -> Option<Packing> {
    match bytes {
        [0x7f, b'E', b'L', b'F', ..] => Some(Packing::Plain),
        [0x1f, 0x8b, ..] => Some(Packing::Gzip),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Packing::Xz),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Packing::Zstd),
        [0x02, 0x21, 0x4c, 0x18, ..] => Some(Packing::Lz4),
        _ => None,
    }
}

/// The packed kernel in a file, which may be an ELF file, a packed ELF file or a bzImage; how it is packed, and the
/// length that a bzImage states for the unpacked kernel.
///
/// # Errors
/// What else the file is.
pub fn find_payload(file: &[u8]) -> Result<(Packing, &[u8], Option<u32>), BzImageError> {
    if file.get(0x202..0x206) != Some(b"HdrS") {
        return packing(file).map(|how| (how, file, None)).ok_or(BzImageError::Unknown);
    }
    let version = u16_at(file, 0x206).ok_or(BzImageError::Truncated)?;
    if version < 0x208 {
        return Err(BzImageError::TooOld(version));
    }
    let sectors = match file[0x1f1] {
        0 => 4,
        sectors => u64::from(sectors),
    };
    let find = || {
        let at = (sectors + 1) * 512 + u64::from(u32_at(file, 0x248)?);
        slice_at(file, at, u32_at(file, 0x24c)?.into())
    };
    let payload = find().ok_or(BzImageError::Truncated)?;
    let how = packing(payload).ok_or_else(|| {
        let mut start = [0; 4];
        let len = payload.len().min(4);
        start[..len].copy_from_slice(&payload[..len]);
        BzImageError::Packing(start)
    })?;
    match how {
        Packing::Plain => Ok((how, payload, None)),
        // gzip ends with its length by itself; behind the others Linux's build writes it.
        Packing::Gzip => Ok((how, payload, trailer(payload))),
        _ => Ok((how, &payload[..payload.len() - 4], trailer(payload))),
    }
}

/// The last four bytes.
fn trailer(payload: &[u8]) -> Option<u32> {
    u32_at(payload, payload.len().checked_sub(4)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 1040];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x206..0x208].copy_from_slice(&0x20fu16.to_le_bytes());
        image[0x248] = 16;
        image[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        image.extend_from_slice(payload);
        image
    }

    #[test]
    fn the_payload_is_found_by_the_header() {
        let file = image(b"\xfd7zXZ\0stream\x05\0\0\0");
        let (how, data, length) = find_payload(&file).unwrap();
        assert_eq!((how, data, length), (Packing::Xz, &b"\xfd7zXZ\0stream"[..], Some(5)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let file = image(b"\xfd7zXZ\0stream\x05\0\0\0");
        assert_eq!(find_payload(&file[..1050]), Err(BzImageError::Truncated));
        assert_eq!(find_payload(b"text"), Err(BzImageError::Unknown));
        assert_eq!(find_payload(&image(b"BZh9")), Err(BzImageError::Packing(*b"BZh9")));
        let mut old = file;
        old[0x206..0x208].copy_from_slice(&0x203u16.to_le_bytes());
        assert_eq!(find_payload(&old), Err(BzImageError::TooOld(0x203)));
    }
}
