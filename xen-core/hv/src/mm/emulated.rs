//! Writes of a guest kernel to its read-only page tables, which fault and are carried out here.

use super::pt::{self, Scope};
use super::typing::{self, Budget, Fail};
use super::update::{self, Mode};
use crate::domain::Vcpu;
use crate::trace;
use core::sync::atomic::Ordering::Relaxed;
use xen_abi::Errno;
use xen_logic::frame::Type;
use xen_logic::pte::Pte;

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

/// Finds the page-table entry that the guest kernel sees at `va`, in the 8 bytes around it: `None` if `va` is not
/// mapped read-only to a page table of the domain's.
pub fn find(cur: &'static Vcpu, va: u64) -> Option<Target> {
    let mapping = Pte(pt::find_l1(va)?.word().load(Relaxed));
    if !mapping.is_present() || mapping.is_writable() {
        return None;
    }
    let table = typing::ram(mapping.mfn()).ok()?;
    let word = table.type_word();
    if !word.typ().is_page_table() || word.count() == 0 || !table.is_owned_by(cur.domain()) {
        return None;
    }
    Some(Target { table, index: (va as usize & 0xfff) >> 3, typ: word.typ() })
}

/// Replaces the entry by `new`. With `old`, only if it is that; otherwise `EAGAIN`, and the guest executes the
/// instruction again.
///
/// # Errors
/// `EAGAIN`; `EINVAL` or `EPERM` where the new entry is refused.
pub fn write(cur: &'static Vcpu, target: Target, old: Option<u64>, new: u64) -> Result<(), Errno> {
    let budget = &mut Budget::unlimited();
    let mode = old.map_or(Mode::Replace, Mode::IfEqual);
    typing::acquire(target.table, target.typ, cur.domain(), false, budget).map_err(Fail::errno)?;
    trace::count(trace::Counter::PtWrites);
    let scope = Scope::own(cur.domain());
    let done = update::update_entry(target.table, target.typ, target.index, Pte(new), mode, &scope, budget);
    typing::release(target.table, budget);
    done.map(drop).map_err(Fail::errno)
}
