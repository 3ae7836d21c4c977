//! The frame rules applied to shared memory by compare-exchange.
//!
//! Generic over the atomic words, so that the hypervisor, the property tests and the loom models run the same code.

use super::{CountWord, Get, Put, Type, TypeWord};

/// An atomic 64-bit word. Loads acquire, successful exchanges acquire and release.
pub trait Word {
    /// Reads.
    fn load(&self) -> u64;
    /// Stores `new` if the word is `old`; else says what it is.
    ///
    /// # Errors
    /// The present value.
    fn exchange(&self, old: u64, new: u64) -> Result<(), u64>;
}

/// A frame's words, and what must happen beside their changes.
pub trait Frame {
    /// The atomic words.
    type Cell: Word;
    /// The count word.
    fn count(&self) -> &Self::Cell;
    /// The type word.
    fn typ(&self) -> &Self::Cell;
    /// Notes the present flush epoch: translations made until now may still be cached.
    fn stamp(&self);
    /// The last reference is gone: nobody else can see the frame any more.
    fn free(&self);
}

/// What [`get_type`] came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acquired {
    /// The caller holds a type count.
    Granted,
    /// The caller is the busy owner and must flush, check and say [`finish`]; see [`Get::Claimed`].
    Claimed {
        /// What the frame was used as before.
        from: Type,
        /// Was it mapped by another domain than the owner?
        foreign: bool,
        /// First entry that is not checked yet.
        resume: u16,
    },
    /// The caller is the busy owner and must undo what is parked; see [`Get::Undo`].
    Undo {
        /// What the frame is parked as.
        typ: Type,
        /// First entry that holds nothing.
        resume: u16,
    },
    /// Another CPU works on it; ask again.
    Wait,
    /// In use as another type, or by too many.
    Refused(TypeWord),
    /// Free, the hypervisor's own, or not of the expected owner.
    NotOwned,
}

/// What [`put_type`] came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Released {
    /// Done.
    Done,
    /// The caller is the busy owner of a page table that nobody uses: it must undo it.
    Undo {
        /// The table's type.
        typ: Type,
        /// First entry that holds nothing.
        resume: u16,
    },
}

/// Takes a reference, if there is one already.
#[inline]
pub fn get_reference<F: Frame>(frame: &F) -> bool {
    let mut old = frame.count().load();
    loop {
        let Some(new) = CountWord(old).get() else { return false };
        match frame.count().exchange(old, new.0) {
            Ok(()) => return true,
            Err(now) => old = now,
        }
    }
}

/// Drops a reference, and frees the frame with the last one.
#[inline]
pub fn put_reference<F: Frame>(frame: &F) {
    let mut old = frame.count().load();
    loop {
        let Some(new) = CountWord(old).put() else {
            debug_assert!(false, "reference count underflow");
            return;
        };
        match frame.count().exchange(old, new.0) {
            Ok(()) if new.count() == 0 => return free_stamped(frame),
            Ok(()) => return,
            Err(now) => old = now,
        }
    }
}

/// Frees a frame that nobody can reach any more: until it is free, no stamp but this one is written.
#[inline]
fn free_stamped<F: Frame>(frame: &F) {
    frame.stamp();
    frame.free();
}

/// The owner gives up its own reference; `false` if it has done so before.
pub fn release_allocation<F: Frame>(frame: &F) -> bool {
    let mut old = frame.count().load();
    loop {
        let Some(new) = CountWord(old).release() else {
            return false;
        };
        match frame.count().exchange(old, new.0) {
            Ok(()) => {
                if new.count() == 0 {
                    free_stamped(frame);
                }
                return true;
            }
            Err(now) => old = now,
        }
    }
}

/// Takes the frame away from its owner if nobody uses it: the caller has it then for itself, with count 0.
pub fn steal<F: Frame>(frame: &F) -> bool {
    let mut old = frame.count().load();
    loop {
        let Some(new) = CountWord(old).steal() else {
            return false;
        };
        match frame.count().exchange(old, new.0) {
            Ok(()) => {
                frame.stamp();
                return true;
            }
            Err(now) => old = now,
        }
    }
}

/// Asks for a use of the frame as `want`; `owned` says whether the frame belongs to whom the caller thinks, and is
/// called while a reference is held, so that its answer stays true.
#[inline]
pub fn get_type<F: Frame>(frame: &F, want: Type, foreign: bool, owned: impl Fn() -> bool) -> Acquired {
    if !foreign && get_type_if_valid(frame, want, &owned) {
        return Acquired::Granted;
    }
    get_type_slowly(frame, want, foreign, owned)
}

/// The usual case of [`get_type`]: one more use of a frame that is used so already. A valid word holds a reference, so
/// the frame cannot be free once the exchange has succeeded. `false` leaves everything as it was: ask in full.
#[inline(always)]
pub fn get_type_if_valid<F: Frame>(frame: &F, want: Type, owned: impl Fn() -> bool) -> bool {
    let mut old = frame.typ().load();
    loop {
        let Some(more) = TypeWord(old).one_more_as(want) else {
            return false;
        };
        match frame.typ().exchange(old, more.0) {
            Ok(()) => break,
            // Another CPU took or dropped a use: that is no refusal.
            Err(now) => old = now,
        }
    }
    owned() || !give_back(frame)
}

/// Drops a use that was taken from a frame of another owner; true.
#[cold]
fn give_back<F: Frame>(frame: &F) -> bool {
    if let Released::Undo { resume, .. } = put_type(frame) {
        // Its last user left meanwhile. The frame is nobody's business here: it is parked as it stands, for its owner
        // to find; the type word keeps its reference.
        finish(frame, Finish::Parked { resume, keep: false });
    }
    true
}

/// Takes a reference if the frame belongs to whom the caller thinks.
#[inline(always)]
pub fn get_reference_if<F: Frame>(frame: &F, owned: impl Fn() -> bool) -> bool {
    get_reference(frame) && (owned() || !drop_wrong(frame))
}

#[cold]
fn drop_wrong<F: Frame>(frame: &F) -> bool {
    put_reference(frame);
    true
}

#[inline(never)]
fn get_type_slowly<F: Frame>(frame: &F, want: Type, foreign: bool, owned: impl Fn() -> bool) -> Acquired {
    if !get_reference(frame) {
        return Acquired::NotOwned;
    }
    if !owned() {
        put_reference(frame);
        return Acquired::NotOwned;
    }
    let mut old = frame.typ().load();
    loop {
        let word = TypeWord(old);
        let (new, answer) = match word.get(want, foreign) {
            Get::Granted(new) => (new, Acquired::Granted),
            Get::Claimed {
                word,
                from,
                foreign,
                resume,
            } => (word, Acquired::Claimed { from, foreign, resume }),
            Get::Undo { word: new, resume } => (
                new,
                Acquired::Undo {
                    typ: word.typ(),
                    resume,
                },
            ),
            refused => {
                put_reference(frame);
                return if refused == Get::Wait {
                    Acquired::Wait
                } else {
                    Acquired::Refused(word)
                };
            }
        };
        match frame.typ().exchange(old, new.0) {
            Ok(()) => {
                // The type word holds one reference as a whole: ours becomes that one, or is one too many.
                if word.holds_reference() {
                    put_reference(frame);
                }
                return answer;
            }
            Err(now) => old = now,
        }
    }
}

/// Drops one use of the frame.
#[inline]
pub fn put_type<F: Frame>(frame: &F) -> Released {
    let mut old = frame.typ().load();
    loop {
        match TypeWord(old).put() {
            Put::Dropped(new) => match frame.typ().exchange(old, new.0) {
                Ok(()) => return Released::Done,
                Err(now) => old = now,
            },
            Put::Last(busy) => match frame.typ().exchange(old, busy.0) {
                Ok(()) => {
                    finish(frame, Finish::Undone);
                    return Released::Done;
                }
                Err(now) => old = now,
            },
            Put::Undo { word, resume } => match frame.typ().exchange(old, word.0) {
                Ok(()) => {
                    return Released::Undo {
                        typ: word.typ(),
                        resume,
                    };
                }
                Err(now) => old = now,
            },
            Put::Underflow => {
                debug_assert!(false, "type count underflow");
                return Released::Done;
            }
        }
    }
}

/// How the busy owner ends its work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finish {
    /// Everything is checked: the owner's count is a use like others.
    Validated,
    /// Interrupted before this entry; with `keep`, the owner's count stays with somebody who will drop it.
    Parked {
        /// First entry that holds nothing.
        resume: u16,
        /// Does the owner's count stay?
        keep: bool,
    },
    /// Nothing is held any more, and the owner drops its count.
    Undone,
}

/// Ends the busy state that this CPU owns. Others may drop counts of their own meanwhile, but not the owner's.
pub fn finish<F: Frame>(frame: &F, how: Finish) {
    let mut old = frame.typ().load();
    loop {
        let word = TypeWord(old);
        debug_assert!(word.is_busy(), "not busy");
        let new = match how {
            Finish::Validated => word.validated(),
            Finish::Parked { resume, keep } => word.parked(resume, keep),
            Finish::Undone => word.undone(),
        };
        if !new.holds_reference() {
            // Before the word says idle: whoever claims the frame for another use must see the stamp.
            frame.stamp();
        }
        match frame.typ().exchange(old, new.0) {
            Ok(()) => {
                if !new.holds_reference() {
                    put_reference(frame);
                }
                return;
            }
            Err(now) => old = now,
        }
    }
}

/// Pins a table that the caller holds a use of, which becomes the pin's; `false` if it is pinned already.
pub fn pin<F: Frame>(frame: &F) -> bool {
    change(frame, TypeWord::pinned)
}

/// Unpins; the caller then holds the pin's use. `false` if it is not pinned.
pub fn unpin<F: Frame>(frame: &F) -> bool {
    change(frame, TypeWord::unpinned)
}

fn change<F: Frame>(frame: &F, rule: impl Fn(TypeWord) -> Option<TypeWord>) -> bool {
    let mut old = frame.typ().load();
    loop {
        let Some(new) = rule(TypeWord(old)) else { return false };
        match frame.typ().exchange(old, new.0) {
            Ok(()) => return true,
            Err(now) => old = now,
        }
    }
}
