//! The reference count of a frame.

const ALLOCATED: u64 = 1 << 63;
const SHARED: u64 = 1 << 62;
const COUNT_MASK: u64 = (1 << 48) - 1;

/// A frame's count word: references, and whether one of them is the owning domain's own.
///
/// Zero: the frame is free or the hypervisor's own, and nobody can get a reference.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CountWord(pub u64);

impl CountWord {
    /// A frame that has just been given to a domain: one reference, the owner's.
    pub const ALLOCATED: CountWord = CountWord(ALLOCATED | 1);
    /// A frame of the hypervisor's that a domain may map: one reference, the hypervisor's; not part of the domain's
    /// reservation.
    pub const SHARED: CountWord = CountWord(SHARED | 1);

    /// The number of references.
    #[inline]
    pub const fn count(self) -> u64 {
        self.0 & COUNT_MASK
    }

    /// Does the owner still hold its own reference?
    #[inline]
    pub const fn is_allocated(self) -> bool {
        self.0 & ALLOCATED != 0
    }

    /// Is it the hypervisor's, shared with its owner?
    #[inline]
    pub const fn is_shared(self) -> bool {
        self.0 & SHARED != 0
    }

    /// One more reference, to a frame that has one. There is no room in a machine for 2^48 page-table entries, so the
    /// count cannot overflow.
    #[inline]
    pub const fn get(self) -> Option<CountWord> {
        match self.count() {
            0 => None,
            _ => Some(CountWord(self.0 + 1)),
        }
    }

    /// One less; `None` if there is none, which is an error of the hypervisor's.
    #[inline]
    pub const fn put(self) -> Option<CountWord> {
        match self.count() {
            0 => None,
            _ => Some(CountWord(self.0 - 1)),
        }
    }

    /// The owner gives up its own reference; `None` if it has done so.
    #[inline]
    pub const fn release(self) -> Option<CountWord> {
        if self.is_allocated() {
            Some(CountWord((self.0 & !ALLOCATED) - 1))
        } else {
            None
        }
    }

    /// Takes the frame away from its owner, if the owner's is the only reference.
    #[inline]
    pub const fn steal(self) -> Option<CountWord> {
        if self.0 == Self::ALLOCATED.0 {
            Some(CountWord(0))
        } else {
            None
        }
    }
}

impl core::fmt::Debug for CountWord {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "{}{}",
            self.count(),
            if self.is_allocated() { " allocated" } else { "" }
        )
    }
}
