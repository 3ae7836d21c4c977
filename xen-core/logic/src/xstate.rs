//! Extended processor state (XSAVE) as toolstacks write it down when they save a vcpu (`XEN_DOMCTL_getvcpuextstate`).
//!
//! Two words (XCR0, and the components that were ever used) and then the area as `xsave` writes it, not compacted. It
//! may come from a hostile image: an area whose header the CPU would refuse makes `xrstor` fault, so everything is
//! checked before any of it is used.

/// Bytes of the two words before the area.
pub const PREFIX: usize = 16;
/// Bytes of the x87 and SSE state and of the header behind it.
pub const AREA_MIN: usize = LEGACY + HEADER;

const LEGACY: usize = 512;
const HEADER: usize = 64;
const X87: u64 = 1;
const SSE: u64 = 1 << 1;
const AVX: u64 = 1 << 2;
const AVX512: u64 = 7 << 5;

/// Would the CPU, whose components are `all`, take this XCR0?
#[inline]
pub const fn is_valid_xcr0(value: u64, all: u64) -> bool {
    let avx512 = value & AVX512;
    value & !all == 0
        && value & X87 != 0
        && (value & AVX == 0 || value & SSE != 0)
        && (avx512 == 0 || (avx512 == AVX512 && value & AVX != 0))
}

/// What a saved state says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Saved<'a> {
    /// Nothing: it is of a CPU, or a vcpu, without extended state.
    Nothing,
    /// This XCR0 and this area, which is at least [`AREA_MIN`] bytes long and can be loaded.
    State {
        /// The vcpu's XCR0.
        xcr0: u64,
        /// The area.
        area: &'a [u8],
    },
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// Reads a saved state for a CPU whose components are `all`; `size_of` says how long an area with some components is.
/// `None` where it cannot be loaded.
pub fn read(bytes: &[u8], all: u64, size_of: impl Fn(u64) -> usize) -> Option<Saved<'_>> {
    let (xcr0, used) = (word(bytes, 0)?, word(bytes, 8)?);
    if xcr0 == 0 && used == 0 {
        return Some(Saved::Nothing);
    }
    let area = bytes.get(PREFIX..)?;
    if !is_valid_xcr0(xcr0, all) || !is_valid_xcr0(used, all) || xcr0 & !used != 0 {
        return None;
    }
    if area.len() < AREA_MIN || area.len() > size_of(used) {
        return None;
    }
    let in_use = word(area, LEGACY)?;
    let reserved_clear = (1..8).all(|n| word(area, LEGACY + n * 8) == Some(0));
    // A component that is in use must be in the area.
    let fits = in_use & !used == 0 && (in_use & !(X87 | SSE) == 0 || area.len() >= size_of(in_use | X87 | SSE));
    (reserved_clear && fits).then_some(Saved::State { xcr0, area })
}

/// The components that a vcpu has used: those its XCR0 has, and those in its area.
pub fn used(xcr0: u64, area: &[u8]) -> u64 {
    xcr0 | X87 | word(area, LEGACY).unwrap_or(0)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const ALL: u64 = 7;

    fn size_of(components: u64) -> usize {
        AREA_MIN + if components & AVX != 0 { 256 } else { 0 }
    }

    fn image(xcr0: u64, used: u64, in_use: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; PREFIX + len];
        bytes[..8].copy_from_slice(&xcr0.to_le_bytes());
        bytes[8..16].copy_from_slice(&used.to_le_bytes());
        if let Some(field) = bytes.get_mut(PREFIX + LEGACY..PREFIX + LEGACY + 8) {
            field.copy_from_slice(&in_use.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn what_a_vcpu_had_is_taken_back() {
        for used in [1, 3, 7] {
            let bytes = image(1, used, used, size_of(used));
            assert!(matches!(read(&bytes, ALL, size_of), Some(Saved::State { xcr0: 1, .. })));
        }
        assert_eq!(read(&image(0, 0, 0, 0), ALL, size_of), Some(Saved::Nothing));
    }

    #[test]
    fn what_the_cpu_would_refuse_is_refused() {
        let refused = |bytes: &[u8]| assert_eq!(read(bytes, ALL, size_of), None);
        // No x87; AVX without SSE; a component that the CPU has not; more in use than ever used; XCR0 beyond that.
        for (xcr0, used, in_use) in [(2, 3, 0), (1, 5, 0), (0xe7, 0xe7, 0), (1, 3, 7), (7, 3, 0)] {
            refused(&image(xcr0, used, in_use, size_of(7)));
        }
        // Cut off: in the prefix, the header, or a component that is in use. And too long.
        refused(&image(1, 1, 1, 0)[..15]);
        refused(&image(1, 7, 1, AREA_MIN - 1));
        refused(&image(7, 7, 7, AREA_MIN));
        refused(&image(7, 7, 7, size_of(7) + 1));
        // A compacted area, and reserved words.
        for n in 1..8 {
            let mut bytes = image(7, 7, 7, size_of(7));
            bytes[PREFIX + LEGACY + n * 8 + 7] = 0x80;
            refused(&bytes);
        }
    }

    proptest! {
        /// Whatever is taken has a header that `xrstor` takes.
        #[test]
        fn taken_states_can_be_loaded(xcr0 in 0u64..16, used in 0u64..16, in_use in 0u64..16, len in 0usize..900, at in 512usize..576, byte: u8) {
            let mut bytes = image(xcr0, used, in_use, len);
            if let Some(b) = bytes.get_mut(PREFIX + at) {
                *b = byte;
            }
            if let Some(Saved::State { xcr0, area }) = read(&bytes, ALL, size_of) {
                let in_use = word(area, LEGACY).unwrap();
                prop_assert!(is_valid_xcr0(xcr0, ALL));
                prop_assert_eq!(in_use & !ALL, 0);
                let least = if in_use & AVX != 0 { size_of(AVX) } else { AREA_MIN };
                prop_assert!(area.len() >= least);
                prop_assert!(area[LEGACY + 8..AREA_MIN].iter().all(|b| *b == 0));
            }
        }
    }
}
