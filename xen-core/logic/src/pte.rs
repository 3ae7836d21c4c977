//! Page-table entries of a guest: which bits it may set, what the hypervisor adds, what a change means.

use crate::frame::Type;

/// A page-table entry of any level.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Pte(pub u64);

/// The entry maps something.
pub const PRESENT: u64 = 1 << 0;
/// Writes are allowed.
pub const RW: u64 = 1 << 1;
/// Ring 3 may use it; for a PV guest that includes its kernel.
pub const USER: u64 = 1 << 2;
/// Cache type, low bit.
pub const PWT: u64 = 1 << 3;
/// Cache type, middle bit.
pub const PCD: u64 = 1 << 4;
/// Set by the CPU on use.
pub const ACCESSED: u64 = 1 << 5;
/// Set by the CPU on a write (level 1).
pub const DIRTY: u64 = 1 << 6;
/// Cache type, high bit (level 1); a large page (levels 2 and 3).
pub const PAT: u64 = 1 << 7;
/// Survives a CR3 load (level 1).
pub const GLOBAL: u64 = 1 << 8;
/// No execution.
pub const NX: u64 = 1 << 63;
/// Bits for software: 9 to 11, and 52 to 62. The upper ones mean something only with CR4.PKE, which is never set.
pub const SOFTWARE: u64 = 7 << 9 | 0x7ff << 52;
/// Where the machine frame number stands.
pub const FRAME: u64 = 0x000f_ffff_ffff_f000;

/// What a present level-1 entry may have, besides the frame.
const L1_ALLOWED: u64 = PRESENT | RW | USER | PWT | PCD | ACCESSED | DIRTY | PAT | GLOBAL | SOFTWARE | NX;
/// What a present entry of a higher level may have. No large pages: a guest maps 4 KiB at a time. No cache types: page
/// walks are write-back.
const TABLE_ALLOWED: u64 = PRESENT | RW | USER | ACCESSED | DIRTY | SOFTWARE | NX;
/// The CPU sets these by itself.
pub const ACCESSED_DIRTY: u64 = ACCESSED | DIRTY;
/// What a level-1 entry's references depend on: one plain reference to a frame mapped read-only, one use as writable
/// for a frame mapped writable.
const L1_REFERENCE: u64 = FRAME | PRESENT | RW;
/// What a higher entry's references depend on.
const TABLE_REFERENCE: u64 = FRAME | PRESENT;

impl Pte {
    /// Does it map something?
    #[inline]
    pub const fn is_present(self) -> bool {
        self.0 & PRESENT != 0
    }

    /// Does it allow writes?
    #[inline]
    pub const fn is_writable(self) -> bool {
        self.0 & RW != 0
    }

    /// The machine frame it names.
    #[inline]
    pub const fn mfn(self) -> u64 {
        (self.0 & FRAME) >> 12
    }

    /// The same entry with other cache bits: write-back.
    #[inline]
    pub const fn write_back(self) -> Pte {
        Pte(self.0 & !(PWT | PCD | PAT))
    }

    /// Is it present with any cache type but write-back?
    #[inline]
    pub const fn has_cache_type(self) -> bool {
        self.0 & (PWT | PCD | PAT) != 0
    }

    /// The same entry, not writable.
    #[inline]
    pub const fn read_only(self) -> Pte {
        Pte(self.0 & !RW)
    }
}

impl core::fmt::Debug for Pte {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

/// Bits that a present entry of this level must not have, as the CPU or our rules say; 0 if it is fine.
/// `frame_limit` is the first frame number beyond the CPU's physical addresses.
#[inline]
pub const fn forbidden_bits(pte: Pte, level: u8, frame_limit: u64) -> u64 {
    let allowed = if level == 1 { L1_ALLOWED } else { TABLE_ALLOWED };
    let frame = pte.0 & FRAME;
    let high = if frame >> 12 >= frame_limit { frame } else { 0 };
    (pte.0 & !(allowed | FRAME)) | high
}

/// What the hypervisor stores for a guest's entry of this level. Entries that are not present are the guest's own.
///
/// Guest kernel and guest user both run in ring 3, so each present entry allows ring 3; which of them may see an
/// address is decided by which L4 table is loaded. For the same reason nothing is global: a translation must not
/// survive the change from kernel to user.
#[inline]
pub const fn adjust(pte: Pte, level: u8) -> Pte {
    if !pte.is_present() {
        return pte;
    }
    if level == 1 {
        Pte((pte.0 | USER) & !GLOBAL)
    } else {
        Pte(pte.0 | USER)
    }
}

/// Takes over the accessed and dirty bits that the CPU has set in the old entry (`MMU_PT_UPDATE_PRESERVE_AD`).
#[inline]
pub const fn preserve_accessed_dirty(old: Pte, new: Pte) -> Pte {
    Pte(new.0 | (old.0 & ACCESSED_DIRTY))
}

/// How an entry's change touches references.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Nothing changes at all.
    Unchanged,
    /// Only accessed and dirty bits do.
    AccessedDirty,
    /// The same frame with the same right to write; other flags do.
    Flags,
    /// References change.
    Full,
}

/// Classifies the change of a level-`level` entry.
#[inline]
pub const fn classify(old: Pte, new: Pte, level: u8) -> Change {
    let diff = old.0 ^ new.0;
    if diff == 0 {
        return Change::Unchanged;
    }
    let matter = if level == 1 { L1_REFERENCE } else { TABLE_REFERENCE };
    if !old.is_present() && !new.is_present() {
        // Neither holds a reference: the bits are the guest's.
        Change::Flags
    } else if diff & matter != 0 {
        Change::Full
    } else if diff & !ACCESSED_DIRTY == 0 {
        Change::AccessedDirty
    } else {
        Change::Flags
    }
}

/// Does the guest own this slot of a level-4 table? Slots 256 to 271 are the hypervisor's.
#[inline]
pub const fn is_guest_l4_slot(index: usize) -> bool {
    !(index >= 256 && index <= 271)
}

/// The type that the frame named by a level-`level` entry must have: the table one level down.
#[inline]
pub const fn child_type(level: u8) -> Option<Type> {
    match level {
        2 => Some(Type::L1),
        3 => Some(Type::L2),
        4 => Some(Type::L3),
        _ => None,
    }
}

/// The index into the level-`level` table for a virtual address.
#[inline]
pub const fn index(va: u64, level: u8) -> usize {
    ((va >> (12 + 9 * (level as u32 - 1))) & 511) as usize
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: u64 = 1 << 28;

    proptest! {
        /// An entry that passes has no reserved bit, whatever the guest wrote.
        #[test]
        fn accepted_entries_have_no_reserved_bits(raw: u64, level in 1u8..=4) {
            let pte = Pte(raw | PRESENT);
            if forbidden_bits(pte, level, LIMIT) == 0 {
                prop_assert!(pte.mfn() < LIMIT);
                let stored = adjust(pte, level);
                prop_assert!(stored.0 & USER != 0);
                prop_assert_eq!(stored.0 & GLOBAL, 0);
                prop_assert!(level == 1 || stored.0 & (PAT | PCD | PWT) == 0);
                prop_assert_eq!(stored.mfn(), pte.mfn());
                prop_assert_eq!(stored.is_writable(), pte.is_writable());
            }
        }

        /// Entries that are not present are kept bit by bit.
        #[test]
        fn absent_entries_are_kept(raw: u64, level in 1u8..=4) {
            let pte = Pte(raw & !PRESENT);
            prop_assert_eq!(adjust(pte, level), pte);
        }

        /// Whatever is not classified `Full` needs the same references before and after.
        #[test]
        fn classification_tracks_references(old: u64, flip: u64, level in 1u8..=4) {
            let (old, new) = (Pte(old), Pte(old ^ flip));
            let holds = |p: Pte| p.is_present().then_some((p.mfn(), level == 1 && p.is_writable()));
            if classify(old, new, level) != Change::Full {
                prop_assert_eq!(holds(old), holds(new));
            } else {
                prop_assert_ne!(holds(old), holds(new));
            }
        }

        #[test]
        fn preserved_bits_only_add(old: u64, new: u64) {
            let merged = preserve_accessed_dirty(Pte(old), Pte(new));
            prop_assert_eq!(merged.0 & !ACCESSED_DIRTY, new & !ACCESSED_DIRTY);
            prop_assert_eq!(merged.0 & ACCESSED_DIRTY, (old | new) & ACCESSED_DIRTY);
        }
    }

    #[test]
    fn large_pages_are_refused() {
        for level in 2..=4 {
            assert_eq!(forbidden_bits(Pte(PRESENT | PAT), level, LIMIT), PAT);
        }
        assert_eq!(forbidden_bits(Pte(PRESENT | PAT), 1, LIMIT), 0);
    }

    #[test]
    fn hole_slots_belong_to_the_hypervisor() {
        let owned = (0..512).filter(|&i| !is_guest_l4_slot(i));
        assert!(owned.eq(256..=271));
    }

    #[test]
    fn indices_follow_the_address() {
        let va = 0xffff_8880_1234_5678;
        assert_eq!([4, 3, 2, 1].map(|l| index(va, l)), [273, 0, 145, 325]);
    }
}
