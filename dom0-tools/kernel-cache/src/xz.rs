//! xz, the short way for what Linux's build makes of a kernel: one block with a CRC-32, packed by LZMA2, mostly behind
//! the filter for x86 code (scripts/xz_wrap.sh; the format: tukaani.org's xz-file-format.txt, sections 2 to 5).
//!
//! The crate's own reader takes seven instructions a byte for the CRC, a tenth of a guest's cold start. Here the crate
//! unpacks and another one sums up. Anything but that one shape is left to the crate's reader.

use lzma_rust2::Lzma2Reader;
use lzma_rust2::filter::bcj::BcjReader;

use crate::unpack::{UnpackError, read_all};

const MAGIC: [u8; 6] = *b"\xfd7zXZ\0";
/// Flags of a stream whose blocks carry a CRC-32.
const CRC32: [u8; 2] = [0, 1];
const FILTER_X86: u8 = 4;
const FILTER_LZMA2: u8 = 0x21;
/// Bits of a block's flags: how many filters but one, and those of no meaning yet.
const FILTERS: u8 = 3;
const RESERVED: u8 = 0x3c;
/// What a block's flags say is there before the filters.
const PACKED_SIZE: u8 = 0x40;
const UNPACKED_SIZE: u8 = 0x80;

/// A stream's only block: how it is packed, and where its data begins.
struct Block {
    x86: bool,
    dictionary: u32,
    begins: usize,
}

fn take<'a>(data: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = data.split_at_checked(count)?;
    *data = rest;
    Some(taken)
}

/// Passes over a number of variable length.
fn skip_number(data: &mut &[u8]) -> Option<()> {
    let length = data.iter().take(9).position(|byte| byte & 0x80 == 0)? + 1;
    take(data, length).map(drop)
}

/// Bytes, and behind them their CRC-32.
fn summed<'a>(data: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let bytes = take(data, count)?;
    (take(data, 4)? == crc32fast::hash(bytes).to_le_bytes()).then_some(bytes)
}

/// Reads the headers; none where they are of another shape, or damaged.
fn block(stream: &[u8]) -> Option<Block> {
    let mut rest = stream;
    let has_magic = take(&mut rest, MAGIC.len())? == MAGIC;
    let has_crc32 = summed(&mut rest, CRC32.len())? == CRC32;
    let length = match rest.first()? {
        0 => return None,
        words => usize::from(*words) * 4,
    };
    let mut header = summed(&mut rest, length)?;
    let flags = take(&mut header, 2)?[1];
    if !has_magic || !has_crc32 || flags & RESERVED != 0 {
        return None;
    }
    for size in [PACKED_SIZE, UNPACKED_SIZE] {
        if flags & size != 0 {
            skip_number(&mut header)?;
        }
    }
    // Filters as they are applied in packing, each with the length of its properties.
    let x86 = match flags & FILTERS {
        0 => false,
        1 => take(&mut header, 2)? == [FILTER_X86, 0],
        _ => return None,
    };
    let &[FILTER_LZMA2, 1, size] = take(&mut header, 3)? else {
        return None;
    };
    let well = (x86 || flags & FILTERS == 0) && size < 40 && header.iter().all(|byte| *byte == 0);
    well.then_some(Block {
        x86,
        dictionary: (2 | u32::from(size) & 1) << (size / 2 + 11),
        begins: stream.len() - rest.len(),
    })
}

/// Unpacks a stream of that shape to at most `most` bytes, with a window of at most `window_kib` KiB. None where it has
/// another shape, or anything is wrong with it: the crate's reader says what.
pub(crate) fn unpack(stream: &[u8], most: usize, window_kib: u32) -> Option<Result<Vec<u8>, UnpackError>> {
    let block = block(stream)?;
    let mut rest = &stream[block.begins..];
    let packed = rest.len();
    let lzma = Lzma2Reader::new_mem_limit(&mut rest, block.dictionary, window_kib, None).ok()?;
    let unpacked = match block.x86 {
        true => read_all(BcjReader::new_x86(lzma, 0), packed, most),
        false => read_all(lzma, packed, most),
    };
    let bytes = match unpacked {
        Ok(bytes) => bytes,
        Err(Some(error)) => return Some(Err(error)),
        Err(None) => return None,
    };
    // Zeros up to a multiple of four, the sum, then the index.
    let over = (packed - rest.len()).wrapping_neg() % 4;
    let padding = take(&mut rest, over)?;
    let sum = take(&mut rest, 4)?;
    let well = padding.iter().all(|byte| *byte == 0) && sum == crc32fast::hash(&bytes).to_le_bytes() && ends(rest);
    well.then_some(Ok(bytes))
}

/// Is this the index of one block, and the footer?
fn ends(data: &[u8]) -> bool {
    let whole = || {
        let mut index = data;
        let one = take(&mut index, 2)? == [0, 1];
        skip_number(&mut index)?;
        skip_number(&mut index)?;
        let mut rest = data;
        summed(&mut rest, (data.len() - index.len()).next_multiple_of(4))?;
        Some(one && take(&mut rest, 12)?.ends_with(b"YZ"))
    };
    whole().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lzma_rust2::{CheckType, XzOptions, XzWriter};
    use proptest::prelude::*;
    use std::io::Write;

    const WINDOW_KIB: u32 = 100 << 10;

    fn packed(data: &[u8], x86: bool, check: CheckType) -> Vec<u8> {
        let mut options = XzOptions::with_preset(1);
        options.set_check_sum_type(check);
        if x86 {
            options.prepend_pre_filter(lzma_rust2::FilterType::BcjX86, 0);
        }
        let mut writer = XzWriter::new(Vec::new(), options).unwrap();
        writer.write_all(data).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn other_shapes_are_left_to_the_crate() {
        let data = [7; 5000];
        for check in [CheckType::None, CheckType::Crc64, CheckType::Sha256] {
            assert!(unpack(&packed(&data, true, check), 5000, WINDOW_KIB).is_none());
        }
        let stream = packed(&data, true, CheckType::Crc32);
        assert_eq!(unpack(&stream, 4999, WINDOW_KIB), Some(Err(UnpackError::TooLong)));
        assert!(unpack(&stream, 5000, 16).is_none(), "a window that is too large");
    }

    proptest! {
        #[test]
        fn what_was_packed_comes_out(data in proptest::collection::vec(any::<u8>(), 1..3000), x86: bool, tail in 0..9usize) {
            let mut stream = packed(&data, x86, CheckType::Crc32);
            stream.extend(vec![0x55; tail]);
            prop_assert_eq!(unpack(&stream, data.len(), WINDOW_KIB), Some(Ok(data)));
        }

        #[test]
        fn damage_never_goes_unnoticed(x86: bool, at in 0..60usize, with in 1..=255u8) {
            let data: Vec<u8> = (0..400u32).flat_map(|n| n.to_le_bytes()).collect();
            let mut stream = packed(&data, x86, CheckType::Crc32);
            stream[at] ^= with;
            if let Some(Ok(bytes)) = unpack(&stream, data.len(), WINDOW_KIB) {
                prop_assert_eq!(bytes, data);
            }
        }
    }
}
