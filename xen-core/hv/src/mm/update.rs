//! One change of one page-table entry: the same path for `mmu_update`, `update_va_mapping` and emulated writes.
//!
//! What the new entry holds is taken first, then the entry is exchanged, then what the old one held is dropped. The
//! exchange is atomic and says what was there, so whoever changes an entry drops exactly what its change removed,
//! however many change it at once. The caller holds a use of the table, so it is not being undone meanwhile.

use super::pt::{self, Scope};
use super::typing::{self, Budget, Fail};
use super::{diagnose, frame, logdirty};
use crate::domain::Domain;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use frame::Mfn;
use xen_abi::Errno;
use xen_logic::pte::{self, Change, Pte};

/// How the entry is to be replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As it is.
    Replace,
    /// Keeping accessed and dirty bits that the CPU has set.
    PreserveAd,
    /// Only if the entry is this; otherwise `EAGAIN`.
    IfEqual(u64),
}

/// Replaces a level-1 entry in a table that the caller holds a use of.
///
/// # Errors
/// `EINVAL` or `EPERM` where the new entry is refused; `EAGAIN` where the entry is not what [`Mode::IfEqual`] says.
#[inline(always)]
pub fn update_l1(word: &AtomicU64, new: Pte, mode: Mode, scope: &Scope) -> Result<(), Fail> {
    let new = pte::adjust(new, 1);
    if mode == Mode::Replace {
        // Most changes fill an empty entry, or empty one.
        let stored = match (new.is_present(), Pte(word.load(Relaxed)).is_present()) {
            (false, _) => new,
            (true, false) => pt::hold_l1(new, scope)?,
            (true, true) => return update_present_l1(word, new, mode, scope),
        };
        let was = Pte(word.swap(stored.0, AcqRel));
        logdirty::entry_changed(word, stored, scope);
        pt::drop_l1(was);
        return Ok(());
    }
    update_present_l1(word, new, mode, scope)
}

/// The general case of [`update_l1`]: where references stay the same, the frame table is left alone.
#[inline(never)]
fn update_present_l1(word: &AtomicU64, new: Pte, mode: Mode, scope: &Scope) -> Result<(), Fail> {
    let mut old = Pte(word.load(Relaxed));
    loop {
        if let Mode::IfEqual(expected) = mode
            && old.0 != expected
        {
            return Err(Fail::Errno(Errno::EAGAIN));
        }
        if pte::classify(old, new, 1) == Change::Full {
            break;
        }
        // The references stay what they are.
        let stored = if new.is_present() {
            checked_flags(new, scope)?
        } else {
            new
        };
        let stored = merged(old, stored, mode);
        if stored == old {
            return Ok(());
        }
        match word.compare_exchange(old.0, stored.0, AcqRel, Acquire) {
            Ok(_) => {
                logdirty::entry_changed(word, stored, scope);
                return Ok(());
            }
            // The CPU has set a bit, or another vcpu was here.
            Err(now) => old = Pte(now),
        }
    }
    let stored = if new.is_present() {
        pt::hold_l1(new, scope)?
    } else {
        new
    };
    match exchange(word, old, stored, mode) {
        Ok(was) => {
            logdirty::entry_changed(word, stored, scope);
            pt::drop_l1(was);
            Ok(())
        }
        Err(fail) => {
            pt::drop_l1(stored);
            Err(fail)
        }
    }
}

/// Empties a level-1 entry in a table of `owner`'s that the caller holds a use of, if it is still `expected`.
///
/// # Errors
/// `EAGAIN` where it has changed.
#[inline]
pub fn clear_l1(word: &AtomicU64, expected: Pte, owner: &Domain) -> Result<(), Fail> {
    word.compare_exchange(expected.0, 0, AcqRel, Acquire)
        .map_err(|_| Fail::Errno(Errno::EAGAIN))?;
    logdirty::entry_changed(word, Pte(0), &Scope::own(owner));
    pt::drop_l1(expected);
    Ok(())
}

/// Moves what the level-1 entry `from` holds to `to`, if that is still `expected`, whose hold is dropped. Both tables
/// belong to `owner`, and the caller holds a use of each.
///
/// # Errors
/// `EAGAIN` where `to` has changed; `from` then holds again what it held.
pub fn move_l1(from: &AtomicU64, to: &AtomicU64, expected: Pte, owner: &Domain) -> Result<(), Fail> {
    let scope = Scope::own(owner);
    let moved = Pte(from.swap(0, AcqRel));
    logdirty::entry_changed(from, Pte(0), &scope);
    match to.compare_exchange(expected.0, moved.0, AcqRel, Acquire) {
        Ok(_) => {
            logdirty::entry_moved(to, moved, &scope);
            pt::drop_l1(expected);
            Ok(())
        }
        Err(_) => {
            // Another vcpu may have filled it meanwhile: that is dropped, as by any change.
            let was = Pte(from.swap(moved.0, AcqRel));
            logdirty::entry_moved(from, moved, &scope);
            pt::drop_l1(was);
            Err(Fail::Errno(Errno::EAGAIN))
        }
    }
}

/// The flags of an entry whose frame and right to write do not change.
#[inline]
pub(super) fn checked_flags(new: Pte, scope: &Scope) -> Result<Pte, Fail> {
    let bad = pt::forbidden_bits(new, 1);
    if bad != 0 {
        diagnose::forbidden(new, 1, bad);
        return Err(Fail::Errno(Errno::EINVAL));
    }
    if new.has_cache_type() && !scope.table.privileged && frame::info(Mfn(new.mfn())).is_some() {
        return Ok(new.write_back());
    }
    Ok(new)
}

#[inline]
fn merged(old: Pte, new: Pte, mode: Mode) -> Pte {
    if mode == Mode::PreserveAd {
        pte::preserve_accessed_dirty(old, new)
    } else {
        new
    }
}

/// Puts the entry in place; answers what was there.
#[inline]
fn exchange(word: &AtomicU64, seen: Pte, new: Pte, mode: Mode) -> Result<Pte, Fail> {
    if mode == Mode::Replace {
        return Ok(Pte(word.swap(new.0, AcqRel)));
    }
    let mut old = seen;
    loop {
        match word.compare_exchange(old.0, merged(old, new, mode).0, AcqRel, Acquire) {
            Ok(_) => return Ok(old),
            Err(_) if matches!(mode, Mode::IfEqual(_)) => return Err(Fail::Errno(Errno::EAGAIN)),
            Err(now) => old = Pte(now),
        }
    }
}

/// Replaces an entry of a level-2, 3 or 4 table that the caller holds a use of.
///
/// # Errors
/// `EINVAL` where the new entry is refused or the slot is the hypervisor's; `Again`.
pub fn update_table(
    table: &'static frame::FrameInfo,
    index: usize,
    level: u8,
    new: Pte,
    mode: Mode,
    domain: &Domain,
    budget: &mut Budget,
) -> Result<(), Fail> {
    if level == 4 && !pte::is_guest_l4_slot(index) {
        return Err(Fail::Errno(Errno::EINVAL));
    }
    let word = table.word(index);
    let mut old = Pte(word.load(Relaxed));
    let new = pte::adjust(new, level);
    loop {
        if let Mode::IfEqual(expected) = mode
            && old.0 != expected
        {
            return Err(Fail::Errno(Errno::EAGAIN));
        }
        if pte::classify(old, new, level) == Change::Full {
            break;
        }
        if new.is_present() && pt::forbidden_bits(new, level) != 0 {
            diagnose::forbidden(new, level, pt::forbidden_bits(new, level));
            return Err(Fail::Errno(Errno::EINVAL));
        }
        match word.compare_exchange(old.0, merged(old, new, mode).0, AcqRel, Acquire) {
            Ok(_) => {
                logdirty::table_entry_changed(table, index, domain);
                return Ok(());
            }
            Err(now) => old = Pte(now),
        }
    }
    if new.is_present() {
        pt::hold_table(new, level, domain, budget)?;
    }
    match exchange(word, old, new, mode) {
        Ok(was) => {
            logdirty::table_entry_changed(table, index, domain);
            drop_table(was, budget);
            Ok(())
        }
        Err(fail) => {
            drop_table(new, budget);
            Err(fail)
        }
    }
}

/// Drops what an entry of a higher table held; what the budget does not allow is left pending.
fn drop_table(entry: Pte, budget: &mut Budget) {
    if entry.is_present()
        && let Some(child) = frame::info(Mfn(entry.mfn()))
    {
        typing::release(child, budget);
    }
}
