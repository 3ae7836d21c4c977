//! Segment descriptors of a guest: what may stand in a GDT or LDT that the CPU uses while ring 0 is the hypervisor's.

/// Present.
const PRESENT: u64 = 1 << 47;
/// Code or data, not a system descriptor.
const CODE_OR_DATA: u64 = 1 << 44;
/// Executable.
const CODE: u64 = 1 << 43;
/// Privilege level 3.
const DPL3: u64 = 3 << 45;
/// 64-bit code.
const LONG: u64 = 1 << 53;
/// 32-bit default size.
const DEFAULT_SIZE: u64 = 1 << 54;
/// Accessed; the CPU sets it.
const ACCESSED: u64 = 1 << 40;

/// The descriptor as the hypervisor stores it, or `None` if a guest must not have it.
///
/// A descriptor that is not present does nothing: it is kept. A present one must be code or data: gates would lead
/// into ring 0, and TSS or LDT descriptors name memory that nobody checked. It gets privilege level 3, and the
/// accessed bit, so that the CPU never writes to the table, which guests and hypervisor map read-only.
pub const fn fix(descriptor: u64) -> Option<u64> {
    if descriptor & PRESENT == 0 {
        return Some(descriptor);
    }
    if descriptor & CODE_OR_DATA == 0 {
        return None;
    }
    if descriptor & CODE != 0 && descriptor & LONG != 0 && descriptor & DEFAULT_SIZE != 0 {
        // 64-bit code with the 32-bit default is reserved; loading it faults.
        return None;
    }
    Some(descriptor | DPL3 | ACCESSED)
}

/// Fixes a whole page of descriptors; says the index of the first that a guest must not have.
///
/// # Errors
/// The index.
pub fn fix_page(descriptors: &mut [u64]) -> Result<(), usize> {
    for (index, descriptor) in descriptors.iter_mut().enumerate() {
        match fix(*descriptor) {
            // Most are as they should be; a store would only dirty the line.
            Some(fixed) if fixed == *descriptor => {}
            Some(fixed) => *descriptor = fixed,
            None => return Err(index),
        }
    }
    Ok(())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Linux's kernel code, data and user descriptors, and a TLS entry.
    const LINUX: [u64; 5] = [
        0x00af_9b00_0000_ffff,
        0x00cf_9300_0000_ffff,
        0x00cf_fb00_0000_ffff,
        0x00cf_f300_0000_ffff,
        0x00af_fb00_0000_ffff,
    ];

    #[test]
    fn flat_segments_pass_with_level_3() {
        for d in LINUX {
            let fixed = fix(d).expect("a flat segment");
            assert_eq!(fixed & DPL3, DPL3);
            assert_eq!(fixed & !(DPL3 | ACCESSED), d & !(DPL3 | ACCESSED));
        }
    }

    #[test]
    fn gates_and_system_descriptors_are_refused() {
        for typ in 0..16u64 {
            assert_eq!(fix(PRESENT | typ << 40), None, "type {typ}");
        }
    }

    #[test]
    fn empty_descriptors_are_kept() {
        assert_eq!(fix(0), Some(0));
        let mut page = [0u64; 512];
        assert_eq!(fix_page(&mut page), Ok(()));
        page[77] = PRESENT;
        assert_eq!(fix_page(&mut page), Err(77));
    }

    proptest! {
        /// Whatever passes is absent, or level 3 code or data.
        #[test]
        fn nothing_privileged_passes(raw: u64) {
            if let Some(d) = fix(raw) {
                prop_assert!(d & PRESENT == 0 || (d & DPL3 == DPL3 && d & CODE_OR_DATA != 0));
            }
        }

        /// A fixed descriptor stays as it is.
        #[test]
        fn fixing_is_idempotent(raw: u64) {
            if let Some(d) = fix(raw) {
                prop_assert_eq!(fix(d), Some(d));
            }
        }
    }
}
