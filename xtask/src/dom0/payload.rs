//! Kernel images: their version, and the decompressed kernel from a cache.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kernel_image::{Packing, find_payload};
use sha2::{Digest, Sha256};
use xz4rust::{XzDecoder, XzNextBlockResult};

use crate::progress::Step;
use crate::workspace;

/// Largest window that a kernel's xz stream may ask for.
const XZ_DICT_MAX: usize = 128 << 20;

/// What `uname -r` will say, from a bzImage's header.
pub fn version(image: &[u8]) -> Option<String> {
    if image.get(0x202..0x206) != Some(b"HdrS") {
        return None;
    }
    let at = 0x200 + usize::from(u16::from_le_bytes(image.get(0x20e..0x210)?.try_into().ok()?));
    let text = image.get(at..)?.split(|&byte| byte == 0).next()?;
    String::from_utf8_lossy(text)
        .split_whitespace()
        .next()
        .map(str::to_owned)
}

/// Decompresses a payload by the method that its first bytes name.
pub fn decompress(payload: &[u8]) -> Result<Vec<u8>> {
    match payload {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => unxz(payload),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let mut out = Vec::new();
            let mut frame = ruzstd::decoding::StreamingDecoder::new(payload)?;
            frame.read_to_end(&mut out)?;
            Ok(out)
        }
        [0x1f, 0x8b, ..] => gunzip(payload),
        [0x7f, b'E', b'L', b'F', ..] => Ok(payload.to_vec()),
        _ => bail!("a compression other than xz, zstd and gzip"),
    }
}

/// Decompresses one xz stream and leaves what follows it alone: kernels append their length.
pub fn unxz(stream: &[u8]) -> Result<Vec<u8>> {
    let mut decoder = XzDecoder::in_heap_with_alloc_dict_size(1 << 20, XZ_DICT_MAX);
    let mut out = Vec::new();
    let mut chunk = vec![0; 1 << 20];
    let mut read = 0;
    loop {
        match decoder.decode(&stream[read..], &mut chunk) {
            Ok(XzNextBlockResult::NeedMoreData(consumed, produced)) => {
                if consumed == 0 && produced == 0 {
                    bail!("the xz stream is cut short");
                }
                read += consumed;
                out.extend_from_slice(&chunk[..produced]);
            }
            Ok(XzNextBlockResult::EndOfStream(_, produced)) => {
                out.extend_from_slice(&chunk[..produced]);
                return Ok(out);
            }
            Err(error) => bail!("bad xz stream: {error}"),
        }
    }
}

/// Decompresses a gzip file of one member.
pub fn gunzip(file: &[u8]) -> Result<Vec<u8>> {
    let flags = *file.get(3).context("gzip file cut short")?;
    let mut at = 10;
    if flags & 4 != 0 {
        let length = file.get(at..at + 2).context("gzip file cut short")?;
        at += 2 + usize::from(u16::from_le_bytes([length[0], length[1]]));
    }
    // A name and a comment, each ended by a zero byte.
    for bit in [8, 16] {
        if flags & bit != 0 {
            let rest = file.get(at..).context("gzip file cut short")?;
            at += 1 + rest.iter().position(|&byte| byte == 0).context("gzip file cut short")?;
        }
    }
    if flags & 2 != 0 {
        at += 2;
    }
    let body = file.get(at..).context("gzip file cut short")?;
    match miniz_oxide::inflate::decompress_to_vec(body) {
        Ok(out) => Ok(out),
        Err(error) => bail!("bad gzip file: {error}"),
    }
}

/// The hash by which caches know a file.
pub fn content_hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .take(12)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The kernel as a plain ELF file: decompressed once, then from a cache by content hash.
pub fn vmlinux(image: &Path) -> Result<PathBuf> {
    let bytes = workspace::read(image)?;
    let payload = find_payload(&bytes).with_context(|| image.display().to_string())?;
    if payload.packing == Packing::Plain && bytes.starts_with(payload.data) {
        return Ok(image.to_path_buf());
    }
    let cached = workspace::cache("vmlinux")?.join(content_hash(&bytes));
    if cached.is_file() {
        return Ok(cached);
    }
    let step = Step::new(format!("decompressing {}", image.display()));
    let elf = decompress(payload.data)
        .with_context(|| format!("cannot decompress {}; --bzimage passes it as it is", image.display()))?;
    workspace::write(&cached, &elf)?;
    step.done(format!("{} KiB", elf.len() / 1024));
    Ok(cached)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_with_name_is_decompressed() {
        let mut file = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3];
        file.extend_from_slice(b"name\0");
        file.extend(miniz_oxide::deflate::compress_to_vec(b"some bytes", 6));
        file.extend_from_slice(&[0; 8]);
        assert_eq!(gunzip(&file).unwrap(), b"some bytes");
    }

    #[test]
    fn version_is_the_first_word() {
        let mut image = vec![0; 0x400];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20e] = 0x80;
        image[0x280..0x28b].copy_from_slice(b"6.1.0-9 (x)");
        assert_eq!(version(&image).as_deref(), Some("6.1.0-9"));
        assert_eq!(version(b"\x7fELF"), None);
    }

    #[test]
    fn cut_streams_are_errors() {
        assert!(unxz(b"\xfd7zXZ\0\0\x04").is_err());
        assert!(gunzip(b"\x1f\x8b").is_err());
        assert!(decompress(b"").is_err());
    }
}
