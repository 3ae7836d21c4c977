//! Writes of a guest kernel to its read-only page tables, which fault and are carried out here.

use super::frame::{self, Mfn};
use super::pt::{self, Scope};
use super::typing::{self, Budget, Fail};
use super::update::{self, Mode, checked_flags};
use super::{logdirty, pending};
use crate::domain::Vcpu;
use crate::trace;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::{AcqRel, Relaxed};
use xen_abi::Errno;
use xen_logic::frame::Type;
use xen_logic::pte::{self, Change, Pte};

/// The page-table entry that a guest's address leads to.
#[derive(Clone, Copy)]
pub struct Target {
    table: &'static super::frame::FrameInfo,
    index: usize,
    typ: Type,
}

impl Target {
    /// The entry as it is now.
    pub fn read(&self) -> u64 {
        self.table.word(self.index).load(Relaxed)
    }
}

/// What stands at a guest kernel's address.
pub enum Found {
    /// A page-table entry of the domain's, which it has mapped read-only.
    Entry(Target),
    /// Something else, mapped by this level-1 entry.
    Other(Pte),
    /// Nothing.
    Nothing,
}

/// Finds what the guest kernel sees in the 8 bytes around `va`.
#[inline]
pub fn find(cur: &'static Vcpu, va: u64) -> Found {
    let Some(slot) = pt::find_l1_from(cur.hot.kernel_table.load(Relaxed), va) else {
        return Found::Nothing;
    };
    let mapping = Pte(slot.word().load(Relaxed));
    if !mapping.is_present() {
        return Found::Nothing;
    }
    let Some(table) = frame::any(Mfn(mapping.mfn())) else {
        return Found::Other(mapping);
    };
    let word = table.type_word();
    let is_table = word.typ().is_page_table() && word.is_valid() && table.is_owned_by(cur.domain());
    if mapping.is_writable() || !is_table {
        return Found::Other(mapping);
    }
    Found::Entry(Target {
        table,
        index: (va as usize & 0xfff) >> 3,
        typ: word.typ(),
    })
}

/// Replaces the entry by `new`. With `old`, only if it is that; otherwise `EAGAIN`, and the guest executes the
/// instruction again.
///
/// # Errors
/// `EAGAIN`; `EINVAL` or `EPERM` where the new entry is refused.
pub fn write(cur: &'static Vcpu, target: Target, old: Option<u64>, new: u64) -> Result<(), Errno> {
    // Where a check of a whole tree is interrupted, the guest executes the instruction again, and it goes on.
    let budget = &mut Budget::limited();
    if !pending::finish(budget) {
        return Err(Errno::EAGAIN);
    }
    let mode = old.map_or(Mode::Replace, Mode::IfEqual);
    let Target { table, index, typ } = target;
    trace::count(trace::Counter::PtWrites);
    // A table that is no longer in use is memory like any other: the guest executes the instruction again, and meets
    // the mapping as it is then.
    typing::acquire_valid(table.mfn(), typ, cur.domain()).ok_or(Errno::EAGAIN)?;
    let scope = Scope::own(cur.domain());
    let done = if typ == Type::L1 {
        update::update_l1(table.word(index), Pte(new), mode, &scope)
    } else {
        update::update_table(table, index, typ.level(), Pte(new), mode, cur.domain(), budget)
    };
    typing::release(table, budget);
    done.map_err(Fail::errno)
}

/// Replaces the entry by `new` if it is `old`: [`write()`], with a short way for level 1, where nearly all of them are.
///
/// # Errors
/// As [`write()`].
#[inline]
pub fn exchange(cur: &'static Vcpu, target: Target, old: u64, new: u64) -> Result<(), Errno> {
    if target.typ != Type::L1 || !pending::is_empty() {
        return write(cur, target, Some(old), new);
    }
    let domain = cur.domain();
    trace::count(trace::Counter::PtWrites);
    typing::acquire_valid(target.table.mfn(), Type::L1, domain).ok_or(Errno::EAGAIN)?;
    let done = exchange_l1(target.table.word(target.index), Pte(old), Pte(new), &Scope::own(domain));
    typing::release(target.table, &mut Budget::unlimited());
    done.map_err(Fail::errno)
}

/// As `update::update_l1` for [`Mode::IfEqual`].
#[inline]
fn exchange_l1(word: &AtomicU64, old: Pte, new: Pte, scope: &Scope) -> Result<(), Fail> {
    let new = pte::adjust(new, 1);
    let full = pte::classify(old, new, 1) == Change::Full;
    let stored = match (new.is_present(), full) {
        (false, _) => new,
        (true, false) => checked_flags(new, scope)?,
        (true, true) => pt::hold_l1(new, scope)?,
    };
    let done = word.compare_exchange(old.0, stored.0, AcqRel, Relaxed).is_ok();
    if done {
        logdirty::entry_changed(word, stored, scope);
    }
    if full {
        pt::drop_l1(if done { old } else { stored });
    }
    if done { Ok(()) } else { Err(Fail::Errno(Errno::EAGAIN)) }
}
