//! Unpacks a kernel payload into a buffer of the right size. Corrupt input ends in an error, never in a panic.

use alloc::boxed::Box;
use core::fmt;
use kernel_image::Packing;
use kernel_image::bytes::{u16_at, u32_at};

/// Why unpacking failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnpackError {
    /// The decoder found the data corrupt, or at an early end; the format's name.
    Corrupt(&'static str),
    /// It unpacks to another length than the image says; the length found.
    Length(usize),
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnpackError::Corrupt(format) => write!(f, "its payload is corrupt or truncated ({format})"),
            UnpackError::Length(len) => write!(f, "its payload has another length than its trailer says ({len})"),
        }
    }
}

/// Largest window that a payload may ask for: Linux packs with up to 128 MiB (zstd).
const MAX_WINDOW: u64 = 128 << 20;

/// Unpacks all of `data` to fill `out` exactly.
///
/// # Errors
/// Corrupt data, or another length.
pub fn unpack(packing: Packing, data: &[u8], out: &mut [u8]) -> Result<(), UnpackError> {
    let len = match packing {
        Packing::Plain => copy(data, out),
        Packing::Gzip => gzip(data, out).ok_or(UnpackError::Corrupt("gzip")),
        Packing::Xz => xz(data, out).ok_or(UnpackError::Corrupt("xz")),
        Packing::Zstd => zstd(data, out).ok_or(UnpackError::Corrupt("zstd")),
        Packing::Lz4 => lz4(data, out).ok_or(UnpackError::Corrupt("lz4")),
    }?;
    if len == out.len() {
        Ok(())
    } else {
        Err(UnpackError::Length(len))
    }
}

fn copy(data: &[u8], out: &mut [u8]) -> Result<usize, UnpackError> {
    out.get_mut(..data.len())
        .ok_or(UnpackError::Length(data.len()))?
        .copy_from_slice(data);
    Ok(data.len())
}

/// Where the deflate stream starts: behind ten fixed bytes and what the flags announce.
fn gzip_header_len(data: &[u8]) -> Option<usize> {
    let (extra, name, comment, crc) = (4, 8, 16, 2);
    if data.get(..3)? != b"\x1f\x8b\x08" {
        return None;
    }
    let flags = *data.get(3)?;
    let mut at = 10usize;
    if flags & extra != 0 {
        at += 2 + usize::from(u16_at(data, at)?);
    }
    for text in [name, comment] {
        if flags & text != 0 {
            at += data.get(at..)?.iter().position(|b| *b == 0)? + 1;
        }
    }
    Some(if flags & crc != 0 { at + 2 } else { at })
}

fn gzip(data: &[u8], out: &mut [u8]) -> Option<usize> {
    use miniz_oxide::inflate::TINFLStatus;
    use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
    let stream = data.get(gzip_header_len(data)?..)?;
    let mut state = Box::<DecompressorOxide>::default();
    let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (status, read, written) = decompress(&mut state, stream, out, 0, flags);
    // Behind the stream stand its checksum and the length.
    let len = u32_at(stream, read.checked_add(4)?)?;
    (status == TINFLStatus::Done && len as usize == written).then_some(written)
}

fn xz(data: &[u8], out: &mut [u8]) -> Option<usize> {
    // The decoder takes a window of the size that the header says, up to the limit.
    let mut decoder = xz4rust::XzDecoder::in_heap_with_alloc_dict_size(0, MAX_WINDOW as usize);
    let (mut read, mut written) = (0, 0);
    loop {
        let step = decoder.decode(data.get(read..)?, out.get_mut(written..)?).ok()?;
        read += step.input_consumed();
        written += step.output_produced();
        if step.is_end_of_stream() {
            return Some(written);
        }
        if !step.made_progress() {
            return None;
        }
    }
}

fn zstd(data: &[u8], out: &mut [u8]) -> Option<usize> {
    let mut decoder = ruzstd::decoding::FrameDecoder::new();
    decoder.set_max_window_size(MAX_WINDOW);
    decoder.decode_all(data, out).ok()
}

/// LZ4's legacy frame: blocks of up to 8 MiB, each with its packed length before it.
fn lz4(data: &[u8], out: &mut [u8]) -> Option<usize> {
    let (mut at, mut written) = (4, 0);
    while at < data.len() {
        let len = u32_at(data, at)? as usize;
        let block = data.get(at + 4..(at + 4).checked_add(len)?)?;
        written += lz4_flex::block::decompress_into(block, out.get_mut(written..)?).ok()?;
        at += 4 + len;
    }
    Some(written)
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
