//! Unpacks kernels. Corrupt input ends in an error, never in a panic.

use std::fmt;
use std::io::Read;

use kernel_image::Packing;
use kernel_image::bytes::{u16_at, u32_at};

use crate::xz;

/// Largest kernel that is unpacked, in bytes: a few bytes must not become all of Dom0's memory.
const MOST: usize = 1 << 30;
/// Largest window that a stream may ask for: Linux packs with up to 128 MiB (zstd).
const WINDOW: usize = 128 << 20;

/// Why unpacking failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnpackError {
    /// Corrupt or cut short; the format's name.
    Corrupt(&'static str),
    /// More than the image says, or than any kernel has.
    TooLong,
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt(format) => write!(f, "its packed kernel ({format}) is corrupt or cut short"),
            Self::TooLong => write!(f, "its packed kernel is longer than the image says"),
        }
    }
}

/// Unpacks `data`; `length` is what the image says of the result.
///
/// # Errors
/// Corrupt data, or more of it than said.
pub fn unpack(packing: Packing, data: &[u8], length: Option<u32>) -> Result<Vec<u8>, UnpackError> {
    let most = length.map_or(MOST, |length| length as usize).min(MOST);
    match packing {
        Packing::Plain => Ok(data.to_vec()),
        Packing::Gzip => gzip(data, most),
        Packing::Xz => any_xz(data, most),
        Packing::Zstd => zstd(data, most),
        Packing::Lz4 => lz4(data, most),
    }
}

/// Where the deflate stream starts: behind ten fixed bytes and what the flags announce.
fn gzip_header(data: &[u8]) -> Option<usize> {
    const CRC: u8 = 2;
    const EXTRA: u8 = 4;
    const TEXTS: [u8; 2] = [8, 16];
    let flags = *data.get(3)?;
    let mut at = 10usize;
    if flags & EXTRA != 0 {
        at += 2 + usize::from(u16_at(data, at)?);
    }
    for text in TEXTS {
        if flags & text != 0 {
            at += data.get(at..)?.iter().position(|byte| *byte == 0)? + 1;
        }
    }
    Some(if flags & CRC != 0 { at + 2 } else { at })
}

fn gzip(data: &[u8], most: usize) -> Result<Vec<u8>, UnpackError> {
    let corrupt = UnpackError::Corrupt("gzip");
    let stream = gzip_header(data).and_then(|at| data.get(at..)).ok_or(corrupt)?;
    miniz_oxide::inflate::decompress_to_vec_with_limit(stream, most).map_err(|error| match error.status {
        miniz_oxide::inflate::TINFLStatus::HasMoreOutput => UnpackError::TooLong,
        _ => corrupt,
    })
}

fn any_xz(data: &[u8], most: usize) -> Result<Vec<u8>, UnpackError> {
    const LIMIT_KIB: u32 = (WINDOW >> 10) as u32 + 1024;
    if let Some(unpacked) = xz::unpack(data, most, LIMIT_KIB) {
        return unpacked;
    }
    let stream = lzma_rust2::XzReader::new_mem_limit(data, false, LIMIT_KIB);
    read_all(stream, data.len(), most).map_err(|error| error.unwrap_or(UnpackError::Corrupt("xz")))
}

fn zstd(data: &[u8], most: usize) -> Result<Vec<u8>, UnpackError> {
    let corrupt = UnpackError::Corrupt("zstd");
    let mut decoder = ruzstd::decoding::FrameDecoder::new();
    decoder.set_max_window_size(WINDOW as u64);
    let stream = ruzstd::decoding::StreamingDecoder::new_with_decoder(data, decoder).map_err(|_| corrupt)?;
    read_all(stream, data.len(), most).map_err(|error| error.unwrap_or(corrupt))
}

/// Reads a stream to its end; none in the place of an error where the stream itself has one.
pub(crate) fn read_all(mut stream: impl Read, packed: usize, most: usize) -> Result<Vec<u8>, Option<UnpackError>> {
    // Where the image states the length, all of it is here; pages that stay untouched cost nothing.
    let guess = if most < MOST { most } else { packed.saturating_mul(4) };
    let mut out = vec![0; guess.clamp(1, most.max(1))];
    let mut len = 0;
    loop {
        if len == out.len() {
            // Full: only the end of the stream may follow, or more room is needed.
            let mut next = [0];
            match stream.read(&mut next).map_err(|_| None)? {
                0 => return Ok(out),
                _ if len >= most => return Err(Some(UnpackError::TooLong)),
                _ => {
                    out.resize((len * 2).min(most), 0);
                    out[len] = next[0];
                    len += 1;
                }
            }
        } else {
            match stream.read(&mut out[len..]).map_err(|_| None)? {
                0 => {
                    out.truncate(len);
                    return Ok(out);
                }
                more => len += more,
            }
        }
    }
}

/// LZ4's legacy frame: blocks of up to 8 MiB, each with its packed length before it.
fn lz4(data: &[u8], most: usize) -> Result<Vec<u8>, UnpackError> {
    const BLOCK: usize = 8 << 20;
    let corrupt = UnpackError::Corrupt("lz4");
    let (mut at, mut out) = (4, Vec::new());
    while at < data.len() {
        let len = u32_at(data, at).ok_or(corrupt)? as usize;
        let block = data.get(at + 4..(at + 4).saturating_add(len)).ok_or(corrupt)?;
        let start = out.len();
        out.resize(start + BLOCK, 0);
        let len = lz4_flex::block::decompress_into(block, &mut out[start..]).map_err(|_| corrupt)?;
        out.truncate(start + len);
        if out.len() > most {
            return Err(UnpackError::TooLong);
        }
        at += 4 + block.len();
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"one kernel, one kernel, one kernel, one kernel";

    fn gzipped() -> Vec<u8> {
        let mut file = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3];
        file.extend_from_slice(b"name\0");
        file.extend(miniz_oxide::deflate::compress_to_vec(TEXT, 6));
        file
    }

    fn lz4ed() -> Vec<u8> {
        let block = lz4_flex::block::compress(TEXT);
        let mut file = vec![0x02, 0x21, 0x4c, 0x18];
        file.extend_from_slice(&(block.len() as u32).to_le_bytes());
        file.extend(block);
        file
    }

    #[test]
    fn each_format_comes_back() {
        assert_eq!(unpack(Packing::Gzip, &gzipped(), None).unwrap(), TEXT);
        assert_eq!(unpack(Packing::Lz4, &lz4ed(), Some(TEXT.len() as u32)).unwrap(), TEXT);
        let zstd = ruzstd::encoding::compress_to_vec(TEXT, ruzstd::encoding::CompressionLevel::Fastest);
        assert_eq!(unpack(Packing::Zstd, &zstd, None).unwrap(), TEXT);
        assert_eq!(unpack(Packing::Xz, XZ, Some(46)).unwrap(), TEXT);
    }

    #[test]
    fn longer_than_said_is_an_error() {
        for (packing, data) in [
            (Packing::Gzip, gzipped()),
            (Packing::Lz4, lz4ed()),
            (Packing::Xz, XZ.to_vec()),
        ] {
            assert_eq!(
                unpack(packing, &data, Some(10)),
                Err(UnpackError::TooLong),
                "{packing:?}"
            );
        }
    }

    #[test]
    fn cut_streams_are_errors() {
        for packing in [Packing::Gzip, Packing::Xz, Packing::Zstd] {
            assert!(
                matches!(unpack(packing, &[], None), Err(UnpackError::Corrupt(_))),
                "{packing:?}"
            );
        }
        for end in 0..XZ.len() {
            assert!(unpack(Packing::Xz, &XZ[..end], None).is_err(), "{end}");
        }
        let gzip = gzipped();
        for end in 0..gzip.len() {
            assert!(unpack(Packing::Gzip, &gzip[..end], None).is_err(), "{end}");
        }
    }
    #[rustfmt::skip]
    const XZ: &[u8] = &[
        0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x01, 0x69, 0x22, 0xde, 0x36, 0x02, 0x00, 0x21, 0x01,
        0x16, 0x00, 0x00, 0x00, 0x74, 0x2f, 0xe5, 0xa3, 0xe0, 0x00, 0x2d, 0x00, 0x13, 0x5d, 0x00, 0x37,
        0x9b, 0x88, 0xce, 0x76, 0x91, 0x83, 0x71, 0x85, 0x3b, 0x4d, 0x49, 0xca, 0x78, 0x5c, 0x63, 0xca,
        0x00, 0x00, 0x00, 0x00, 0xb3, 0x83, 0xa9, 0x40, 0x00, 0x01, 0x2b, 0x2e, 0x8d, 0x45, 0x20, 0x8a,
        0x90, 0x42, 0x99, 0x0d, 0x01, 0x00, 0x00, 0x00, 0x00, 0x01, 0x59, 0x5a,
    ];
}
