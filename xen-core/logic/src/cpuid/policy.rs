//! CPUID as the toolstack writes it down: lists of leaves, and words of features (`xen-x86/cpufeatureset.h`).
//!
//! What a toolstack sets for a domain can only take away from what the hypervisor would show: features by word, and the
//! highest leaves. Everything else (caches, brand, topology) stays as it is.

use super::{Leaf, MAX_BASIC, MAX_EXTENDED};

/// The subleaf that a leaf without subleaves is written down with (`XEN_CPUID_NO_SUBLEAF`).
pub const NO_SUBLEAF: u32 = u32::MAX;
/// Most leaves that [`write_leaves`] gives.
pub const MAX_LEAVES: u32 = 136;
/// Words of features.
pub const FEATURE_WORDS: usize = 19;

/// Bits of leaf 1 ECX that say something of the guest's state or of the hypervisor, and are no features: OSXSAVE and
/// the mark of a hypervisor.
const STATE_1_ECX: u32 = 1 << 27 | 1 << 31;

/// One of the four registers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Register {
    A,
    B,
    C,
    D,
}

impl Register {
    fn of(self, leaf: &mut Leaf) -> &mut u32 {
        match self {
            Register::A => &mut leaf.a,
            Register::B => &mut leaf.b,
            Register::C => &mut leaf.c,
            Register::D => &mut leaf.d,
        }
    }
}

/// Where each word of features stands; the two words of an MSR stand nowhere.
const PLACES: [Option<(u32, u32, Register)>; FEATURE_WORDS] = [
    Some((1, 0, Register::D)),
    Some((1, 0, Register::C)),
    Some((0x8000_0001, 0, Register::D)),
    Some((0x8000_0001, 0, Register::C)),
    Some((0xd, 1, Register::A)),
    Some((7, 0, Register::B)),
    Some((7, 0, Register::C)),
    Some((0x8000_0007, 0, Register::D)),
    Some((0x8000_0008, 0, Register::B)),
    Some((7, 0, Register::D)),
    Some((7, 1, Register::A)),
    Some((0x8000_0021, 0, Register::A)),
    Some((7, 1, Register::B)),
    Some((7, 2, Register::D)),
    Some((7, 1, Register::C)),
    Some((7, 1, Register::D)),
    None,
    None,
    Some((0x8000_0021, 0, Register::C)),
];

/// The words of features that `leaf_of` shows.
pub fn feature_words(leaf_of: impl Fn(u32, u32) -> Leaf) -> [u32; FEATURE_WORDS] {
    PLACES.map(|place| place.map_or(0, |(leaf, subleaf, register)| *register.of(&mut leaf_of(leaf, subleaf))))
}

/// Gives each leaf that `leaf_of` shows to `put`, with its number and subleaf, in order.
///
/// # Errors
/// What `put` says.
pub fn write_leaves<E>(
    leaf_of: impl Fn(u32, u32) -> Leaf,
    mut put: impl FnMut(u32, u32, Leaf) -> Result<(), E>,
) -> Result<(), E> {
    for number in 0..=leaf_of(0, 0).a.min(MAX_BASIC) {
        match number {
            4 => {
                for subleaf in 0..6 {
                    let leaf = leaf_of(4, subleaf);
                    put(4, subleaf, leaf)?;
                    if leaf.a & 0x1f == 0 {
                        break;
                    }
                }
            }
            7 => {
                for subleaf in 0..=leaf_of(7, 0).a.min(2) {
                    put(7, subleaf, leaf_of(7, subleaf))?;
                }
            }
            // Topology: a domain has none, which takes one entry to say.
            0xb => put(0xb, 0, Leaf::ZERO)?,
            0xd => {
                let usable = leaf_of(0xd, 0);
                let usable = u64::from(usable.a) | u64::from(usable.d) << 32;
                for subleaf in (0..63u32).filter(|n| *n < 2 || usable >> n & 1 != 0) {
                    put(0xd, subleaf, leaf_of(0xd, subleaf))?;
                }
            }
            _ => put(number, NO_SUBLEAF, leaf_of(number, 0))?,
        }
    }
    // Left to the hypervisor, but listed: libxc writes its own list into the room that this one takes.
    for number in [0x4000_0000, 0x4000_0100] {
        put(number, NO_SUBLEAF, Leaf::ZERO)?;
    }
    for number in 0x8000_0000..=leaf_of(0x8000_0000, 0).a.clamp(0x8000_0000, MAX_EXTENDED) {
        put(number, NO_SUBLEAF, leaf_of(number, 0))?;
    }
    Ok(())
}

/// What a toolstack leaves of a domain's CPUID.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Restriction {
    /// The features that may be shown, by word.
    words: [u32; FEATURE_WORDS],
    /// The highest basic leaf.
    max_basic: u32,
    /// The highest extended leaf.
    max_extended: u32,
}

impl Default for Restriction {
    fn default() -> Self {
        Self::NONE
    }
}

impl Restriction {
    /// Takes nothing away.
    pub const NONE: Restriction = Restriction {
        words: [u32::MAX; FEATURE_WORDS],
        max_basic: u32::MAX,
        max_extended: u32::MAX,
    };

    /// Takes a leaf of the toolstack's list into account; the last word on a register counts. False where there can be
    /// no such leaf in a list.
    pub fn read_leaf(&mut self, number: u32, subleaf: u32, leaf: Leaf) -> bool {
        let has_subleaves = matches!(number, 4 | 7 | 0xb | 0xd);
        if has_subleaves == (subleaf == NO_SUBLEAF) {
            return false;
        }
        match number {
            0 => self.max_basic = leaf.a,
            0x8000_0000 => self.max_extended = leaf.a,
            0..=MAX_BASIC | 0x8000_0001..=MAX_EXTENDED => {}
            // The hypervisor's own leaves are not the toolstack's to set; their ranges may be named.
            0x4000_0000 | 0x4000_0100 => return true,
            _ => return false,
        }
        let subleaf = if has_subleaves { subleaf } else { 0 };
        for (word, place) in self.words.iter_mut().zip(PLACES) {
            if let Some((n, s, register)) = place
                && (n, s) == (number, subleaf)
            {
                *word = *register.of(&mut leaf.clone());
            }
        }
        true
    }

    /// What is left of a leaf that the hypervisor would show.
    pub fn apply(&self, number: u32, subleaf: u32, shown: Leaf) -> Leaf {
        let (max, first) = if number < 0x4000_0000 {
            (self.max_basic, 0)
        } else if number >= 0x8000_0000 {
            (self.max_extended, 0x8000_0000)
        } else {
            return shown;
        };
        if number > max && number != first {
            return Leaf::ZERO;
        }
        let mut leaf = shown;
        if number == first {
            leaf.a = leaf.a.min(max.max(first));
        }
        for (word, place) in self.words.iter().zip(PLACES) {
            if let Some((n, s, register)) = place
                && n == number
                && (s == subleaf || !matches!(n, 7 | 0xd))
            {
                let state = if (n, register) == (1, Register::C) {
                    STATE_1_ECX
                } else {
                    0
                };
                *register.of(&mut leaf) &= word | state;
            }
        }
        leaf
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// A machine whose every register is a mix of its place.
    fn machine(leaf: u32, subleaf: u32) -> Leaf {
        let mix = |n: u32| (leaf ^ subleaf << 16 ^ n).wrapping_mul(0x9e37_79b9).rotate_left(n);
        let mut made = Leaf {
            a: mix(1),
            b: mix(2),
            c: mix(3),
            d: mix(4),
        };
        match (leaf, subleaf) {
            (0, _) => made.a = 0x1f,
            (7, 0) => made.a = 2,
            (4, 3) => made.a = 0,
            (0xd, 0) => (made.a, made.d) = (0xe7, 0),
            (0x8000_0000, _) => made.a = 0x8000_0021,
            _ => {}
        }
        made
    }

    fn written(leaf_of: impl Fn(u32, u32) -> Leaf) -> Vec<(u32, u32, Leaf)> {
        let mut all = Vec::new();
        let put = |n, s, leaf| -> Result<(), ()> {
            all.push((n, s, leaf));
            Ok(())
        };
        assert_eq!(write_leaves(leaf_of, put), Ok(()));
        all
    }

    fn read(leaves: &[(u32, u32, Leaf)]) -> Restriction {
        let mut read = Restriction::NONE;
        for (n, s, leaf) in leaves {
            assert!(read.read_leaf(*n, *s, *leaf), "{n:#x} {s:#x}");
        }
        read
    }

    #[test]
    fn a_list_fits_and_is_in_order() {
        let all = written(machine);
        assert!(all.len() <= MAX_LEAVES as usize);
        assert!(all.is_sorted_by_key(|(n, s, _)| (*n, *s)));
        // Every subleaf that could be written: the bound holds for any machine.
        let most = written(|leaf, subleaf| match leaf {
            0xd if subleaf == 0 => Leaf {
                a: u32::MAX,
                d: u32::MAX,
                ..Leaf::ZERO
            },
            4 => Leaf { a: 1, ..Leaf::ZERO },
            _ => machine(leaf, subleaf),
        });
        assert!(most.len() <= MAX_LEAVES as usize, "{}", most.len());
    }

    #[test]
    fn what_was_written_takes_nothing_away() {
        let restriction = read(&written(machine));
        for (n, s, leaf) in written(machine).into_iter().filter(|(n, ..)| *n != 0xb) {
            let s = if s == NO_SUBLEAF { 0 } else { s };
            let mut left = restriction.apply(n, s, leaf);
            if n == 0 {
                left.a = leaf.a;
            }
            assert_eq!(left, leaf, "{n:#x} {s:#x}");
        }
    }

    #[test]
    fn hypervisor_leaves_and_state_are_not_the_toolstacks() {
        let mut none = Restriction::NONE;
        assert!(none.read_leaf(1, NO_SUBLEAF, Leaf::ZERO));
        assert_eq!(none.apply(0x4000_0001, 0, machine(1, 1)), machine(1, 1));
        let all = Leaf {
            c: u32::MAX,
            d: u32::MAX,
            ..Leaf::ZERO
        };
        assert_eq!(none.apply(1, 0, all).c, STATE_1_ECX);
        assert_eq!(none.apply(1, 0, all).d, 0);
        assert!(!none.read_leaf(0x4000_0001, NO_SUBLEAF, Leaf::ZERO));
        assert!(!none.read_leaf(7, NO_SUBLEAF, Leaf::ZERO));
        assert!(!none.read_leaf(2, 0, Leaf::ZERO));
        assert!(!none.read_leaf(0x8000_0022, NO_SUBLEAF, Leaf::ZERO));
    }

    #[test]
    fn leaves_above_the_highest_are_gone() {
        let mut short = Restriction::NONE;
        assert!(short.read_leaf(0, NO_SUBLEAF, Leaf { a: 6, ..Leaf::ZERO }));
        assert_eq!(short.apply(7, 0, machine(7, 0)), Leaf::ZERO);
        assert_eq!(short.apply(0, 0, machine(0, 0)).a, 6);
        assert_eq!(short.apply(5, 0, machine(5, 0)), machine(5, 0));
    }

    proptest! {
        /// However a list is made, it never adds a feature.
        #[test]
        fn nothing_is_added(a: u32, b: u32, c: u32, d: u32, place in 0..FEATURE_WORDS, seed: u32) {
            let Some((n, s, _)) = PLACES[place] else { return Ok(()) };
            let mut restriction = Restriction::NONE;
            let subleaf = if matches!(n, 7 | 0xd) { s } else { NO_SUBLEAF };
            let list = Leaf { a, b, c, d };
            prop_assert!(restriction.read_leaf(n, subleaf, list));
            let shown = machine(seed, n);
            let left = restriction.apply(n, s, shown);
            for (left, shown) in [(left.a, shown.a), (left.b, shown.b), (left.c, shown.c), (left.d, shown.d)] {
                prop_assert_eq!(left & !shown, 0);
            }
        }
    }
}
