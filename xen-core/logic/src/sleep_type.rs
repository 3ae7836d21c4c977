//! The sleep types that an ACPI definition block gives for powering off.

/// The values for the sleep-type fields of the two PM1 control registers (`SLP_TYPa`, `SLP_TYPb`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SleepType {
    /// For PM1a.
    pub a: u8,
    /// For PM1b.
    pub b: u8,
}

const NAME_OP: u8 = 0x08;
const PACKAGE_OP: u8 = 0x12;

/// Looks for `Name (_S5, Package () {a, b, …})` in AML bytecode.
///
/// It looks for the bytes of that one form and runs no AML: a hypervisor that must power off without Dom0's
/// help needs no more.
pub fn find_s5(aml: &[u8]) -> Option<SleepType> {
    let mut from = 0;
    while let Some(at) = aml[from..].windows(4).position(|w| w == b"_S5_") {
        let at = from + at;
        let named = aml[..at].ends_with(&[NAME_OP]) || aml[..at].ends_with(&[NAME_OP, b'\\']);
        if named && let Some(found) = read_package(&aml[at + 4..]) {
            return Some(found);
        }
        from = at + 4;
    }
    None
}

fn read_package(aml: &[u8]) -> Option<SleepType> {
    let rest = aml.strip_prefix(&[PACKAGE_OP])?;
    // The two upper bits of the length's first byte say how many more bytes it has.
    let extra = (rest.first()? >> 6) as usize;
    let (&elements, rest) = rest.get(1 + extra..)?.split_first()?;
    if elements < 1 {
        return None;
    }
    let (a, rest) = read_integer(rest)?;
    let b = if elements > 1 { read_integer(rest)?.0 } else { a };
    Some(SleepType { a: a & 7, b: b & 7 })
}

/// The low byte of an integer constant, and what follows.
fn read_integer(aml: &[u8]) -> Option<(u8, &[u8])> {
    let (&op, rest) = aml.split_first()?;
    match op {
        0x00 | 0x01 => Some((op, rest)),
        0x0a => Some((*rest.first()?, rest.get(1..)?)),
        0x0b => Some((*rest.first()?, rest.get(2..)?)),
        0x0c => Some((*rest.first()?, rest.get(4..)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_usual_forms() {
        // QEMU's: Name (_S5, Package (0x04) {Zero, Zero, Zero, Zero}).
        let qemu = b"\x10\x1a\x08_S5_\x12\x06\x04\x00\x00\x00\x00";
        assert_eq!(find_s5(qemu), Some(SleepType { a: 0, b: 0 }));
        let bytes = b"xx_S5_\x12\x08\\_S5_\x12\x0a\x04\x0a\x05\x0b\x07\x00\x00\x00";
        assert_eq!(find_s5(bytes), Some(SleepType { a: 5, b: 7 }));
        let long = b"\x08_S5_\x12\x48\x00\x02\x0a\x07\x01";
        assert_eq!(find_s5(long), Some(SleepType { a: 7, b: 1 }));
        assert_eq!(find_s5(b"\x08_S5_\x12\x06\x02\x0a"), None);
        assert_eq!(find_s5(b"\x08_S4_\x12\x06\x04\x00\x00\x00\x00"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut aml in proptest::collection::vec(any::<u8>(), 0..64), at in 0usize..64) {
            let at = at.min(aml.len());
            aml.splice(at..at, *b"\x08_S5_\x12");
            find_s5(&aml);
        }
    }
}
