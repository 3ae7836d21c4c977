//! What a machine frame may be used for: the rules of its reference count and of its type.
//!
//! Each frame has two words. The *count word* says how many references there are; a frame is freed with its last
//! one. The *type word* says what the frame is used as, and how many uses there are: a frame that is a page table
//! cannot be mapped writable until no use as a page table is left, and the other way round.
//!
//! Rules are functions from an old word to a new one; [`cells`] applies them by compare-exchange.
//!
//! **A type count holds one reference**: as long as the type count is not zero, or the frame is parked (see
//! below), the type word as a whole owns one reference of the count word. One more use of a mapped frame is then one
//! compare-exchange, of the type word alone.
//!
//! A type word is in one of four states:
//!
//! | state | count | meaning |
//! |---|---|---|
//! | idle | 0 | not in use; the type is what it was used as last |
//! | valid | ≥ 1 | in use, contents checked |
//! | busy | ≥ 1 | one CPU, which owns one of the counts, checks or unchecks the contents; others wait |
//! | parked | ≥ 0 | that work was interrupted: entries below `resume` hold their references, the others do not |

pub mod cells;
mod count;
#[cfg(all(test, not(loom)))]
mod domains_tests;
#[cfg(all(test, not(loom)))]
mod tests;

pub use count::CountWord;

/// What a frame is used as.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
#[repr(u8)]
pub enum Type {
    /// Nothing that needs a check: read-only mappings, the hypervisor's own use.
    None = 0,
    /// Level-1 page table.
    L1 = 1,
    /// Level-2 page table.
    L2 = 2,
    /// Level-3 page table.
    L3 = 3,
    /// Level-4 page table.
    L4 = 4,
    /// Page of segment descriptors.
    SegDesc = 5,
    /// Memory that a guest may write to.
    Writable = 6,
}

impl Type {
    const ALL: [Type; 8] = [
        Type::None,
        Type::L1,
        Type::L2,
        Type::L3,
        Type::L4,
        Type::SegDesc,
        Type::Writable,
        Type::None,
    ];

    /// The page table of this level, 1 to 4.
    #[inline]
    pub const fn of_level(level: u8) -> Option<Type> {
        match level {
            1 => Some(Type::L1),
            2 => Some(Type::L2),
            3 => Some(Type::L3),
            4 => Some(Type::L4),
            _ => None,
        }
    }

    /// The level of a page table, 0 for everything else.
    #[inline]
    pub const fn level(self) -> u8 {
        match self {
            Type::L1 | Type::L2 | Type::L3 | Type::L4 => self as u8,
            _ => 0,
        }
    }

    /// Does a frame of this type hold references to others?
    #[inline]
    pub const fn is_page_table(self) -> bool {
        self.level() != 0
    }

    /// Must the contents be checked before the first use?
    #[inline]
    pub const fn needs_check(self) -> bool {
        self.is_page_table() || matches!(self, Type::SegDesc)
    }
}

/// Entries of a page table, and of a page of descriptors.
pub const ENTRIES: u16 = 512;

const COUNT_MASK: u64 = (1 << 40) - 1;
const RESUME_SHIFT: u32 = 40;
const RESUME_MASK: u64 = 0x3ff << RESUME_SHIFT;
const VALID: u64 = 1 << 52;
const PARKED: u64 = 1 << 53;
const PINNED: u64 = 1 << 54;
const FOREIGN: u64 = 1 << 55;
const TYPE_SHIFT: u32 = 60;
const TYPE_MASK: u64 = 7 << TYPE_SHIFT;

/// A frame's type word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TypeWord(pub u64);

/// What asking for one more use of a frame comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Get {
    /// One more use; nothing else to do.
    Granted(TypeWord),
    /// The caller becomes the busy owner: it flushes stale translations of the use `from`, unless `from` is the
    /// wanted type or `None`, checks entries from `resume` on, and then says [`TypeWord::validated`],
    /// [`TypeWord::parked`] or [`TypeWord::undone`].
    Claimed {
        /// The word to store.
        word: TypeWord,
        /// What the frame was used as before.
        from: Type,
        /// Was that use one by another domain than the owner?
        foreign: bool,
        /// The first entry that is not checked yet.
        resume: u16,
    },
    /// The frame is parked as another type; the caller becomes the busy owner, drops what entries below `resume`
    /// hold, says [`TypeWord::undone`], and asks again.
    Undo {
        /// The word to store.
        word: TypeWord,
        /// The first entry that holds nothing.
        resume: u16,
    },
    /// Another CPU is at it; ask again.
    Wait,
    /// In use as another type.
    Mismatch,
    /// Too many uses.
    Overflow,
}

/// What dropping one use comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Put {
    /// Others remain.
    Dropped(TypeWord),
    /// That was the last of a frame that holds nothing: the caller becomes the busy owner, and says
    /// [`TypeWord::undone`]. Only the busy owner stamps a frame that becomes idle: while it stamps, nobody can use the
    /// frame and drop it again, which would want a newer stamp.
    Last(TypeWord),
    /// That was the last of a page table: the caller becomes the busy owner, drops what entries below `resume`
    /// hold, and says [`TypeWord::undone`] or [`TypeWord::parked`].
    Undo {
        /// The word to store.
        word: TypeWord,
        /// The first entry that holds nothing.
        resume: u16,
    },
    /// There is no use to drop: an error of the hypervisor's.
    Underflow,
}

impl TypeWord {
    /// The word of a frame that was never used.
    pub const UNUSED: TypeWord = TypeWord(0);

    /// A word for frames the hypervisor shares: used as `typ` for ever.
    pub const fn shared(typ: Type) -> TypeWord {
        TypeWord((typ as u64) << TYPE_SHIFT | VALID | 1)
    }

    /// The present or last use.
    #[inline]
    pub const fn typ(self) -> Type {
        Type::ALL[((self.0 & TYPE_MASK) >> TYPE_SHIFT) as usize]
    }

    /// Is this the present or last use?
    #[inline]
    pub const fn is(self, typ: Type) -> bool {
        self.0 & TYPE_MASK == (typ as u64) << TYPE_SHIFT
    }

    /// The number of uses.
    #[inline]
    pub const fn count(self) -> u64 {
        self.0 & COUNT_MASK
    }

    /// In use, and checked?
    #[inline]
    pub const fn is_valid(self) -> bool {
        self.0 & VALID != 0
    }

    /// Interrupted in the middle of a check?
    #[inline]
    pub const fn is_parked(self) -> bool {
        self.0 & PARKED != 0
    }

    /// Being worked on by a CPU?
    #[inline]
    pub const fn is_busy(self) -> bool {
        self.count() != 0 && self.0 & (VALID | PARKED) == 0
    }

    /// Pinned by the guest?
    #[inline]
    pub const fn is_pinned(self) -> bool {
        self.0 & PINNED != 0
    }

    /// Entries below this one hold references; meaningful while parked.
    #[inline]
    pub const fn resume(self) -> u16 {
        ((self.0 & RESUME_MASK) >> RESUME_SHIFT) as u16
    }

    /// Does the type word own a reference of the count word?
    #[inline]
    pub const fn holds_reference(self) -> bool {
        self.0 & (COUNT_MASK | PARKED) != 0
    }

    /// One more use as `want`, where that is just a higher count.
    #[inline(always)]
    pub const fn one_more_as(self, want: Type) -> Option<TypeWord> {
        // A valid word has a count of at least 1. It never comes near the greatest: so many uses would need 8 TiB of
        // page tables, more than the direct map has room for.
        let valid_as = self.0 & (TYPE_MASK | VALID) == (want as u64) << TYPE_SHIFT | VALID;
        if valid_as { Some(TypeWord(self.0 + 1)) } else { None }
    }

    /// Asks for one more use as `want`; `foreign` if it is a mapping by another domain than the owner.
    pub fn get(self, want: Type, foreign: bool) -> Get {
        if self.count() == COUNT_MASK {
            return Get::Overflow;
        }
        let mark = if foreign { FOREIGN } else { 0 };
        if self.count() == 0 && !self.is_parked() {
            return self.get_idle(want, mark);
        }
        if self.typ() != want {
            return match self.count() {
                0 => Get::Undo {
                    word: self.claimed(),
                    resume: self.resume(),
                },
                _ => Get::Mismatch,
            };
        }
        if self.is_valid() {
            return Get::Granted(TypeWord((self.0 + 1) | mark));
        }
        if self.is_parked() {
            // Parked frames were flushed for their new use when they were first claimed.
            let word = TypeWord(((self.0 & !(PARKED | RESUME_MASK)) + 1) | mark);
            return Get::Claimed {
                word,
                from: want,
                foreign: false,
                resume: self.resume(),
            };
        }
        Get::Wait
    }

    fn get_idle(self, want: Type, mark: u64) -> Get {
        let from = self.typ();
        let word = TypeWord((want as u64) << TYPE_SHIFT | 1 | mark);
        if !want.needs_check() && (from == want || from == Type::None) {
            // A use that needs no check, with no stale translation of another use about. What foreign mappings
            // there were stays noted: their translations may live on.
            return Get::Granted(TypeWord(word.0 | VALID | (self.0 & FOREIGN)));
        }
        Get::Claimed {
            word,
            from,
            foreign: self.0 & FOREIGN != 0,
            resume: 0,
        }
    }

    /// The busy word of a frame that is taken up to become idle.
    const fn claimed(self) -> TypeWord {
        TypeWord((self.0 & (TYPE_MASK | FOREIGN)) | 1)
    }

    /// Drops one use.
    #[inline]
    pub fn put(self) -> Put {
        match self.count() {
            0 => Put::Underflow,
            1 => self.put_last(),
            _ => Put::Dropped(TypeWord(self.0 - 1)),
        }
    }

    fn put_last(self) -> Put {
        if self.is_busy() {
            return Put::Underflow;
        }
        if self.typ().is_page_table() {
            let resume = if self.is_parked() { self.resume() } else { ENTRIES };
            return Put::Undo {
                word: self.claimed(),
                resume,
            };
        }
        Put::Last(self.claimed())
    }

    /// The busy owner has checked everything: its count is now a use like others.
    #[inline]
    pub const fn validated(self) -> TypeWord {
        TypeWord(self.0 | VALID)
    }

    /// The busy owner stops in the middle. With `keep` its count stays, for somebody who will drop it; without, it
    /// goes, and the word as a whole keeps its reference.
    #[inline]
    pub const fn parked(self, resume: u16, keep: bool) -> TypeWord {
        let word = self.0 | PARKED | (resume as u64) << RESUME_SHIFT;
        TypeWord(if keep { word } else { word - 1 })
    }

    /// The busy owner has dropped what the entries held, and drops its count. If the result is idle, the type
    /// word's reference goes too; if somebody else still holds a count, the frame is parked, with nothing held.
    #[inline]
    pub const fn undone(self) -> TypeWord {
        let word = TypeWord(self.0 - 1);
        if word.count() == 0 {
            TypeWord(word.0 & (TYPE_MASK | FOREIGN))
        } else {
            TypeWord(word.0 | PARKED)
        }
    }

    /// Pins a valid page table; `None` if it is pinned.
    #[inline]
    pub const fn pinned(self) -> Option<TypeWord> {
        if self.is_pinned() || !self.is_valid() {
            None
        } else {
            Some(TypeWord(self.0 | PINNED))
        }
    }

    /// Unpins; `None` if it is not pinned.
    #[inline]
    pub const fn unpinned(self) -> Option<TypeWord> {
        if self.is_pinned() {
            Some(TypeWord(self.0 & !PINNED))
        } else {
            None
        }
    }
}

impl core::fmt::Debug for TypeWord {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?}×{}", self.typ(), self.count())?;
        for (set, name) in [
            (self.is_valid(), " valid"),
            (self.is_pinned(), " pinned"),
            (self.is_busy(), " busy"),
        ] {
            if set {
                f.write_str(name)?;
            }
        }
        if self.is_parked() {
            write!(f, " parked at {}", self.resume())
        } else {
            Ok(())
        }
    }
}
