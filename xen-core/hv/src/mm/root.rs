//! The L4 tables a vcpu runs on.
//!
//! `kernel_cr3` and `user_cr3` each hold a use of their table as [`Type::L4`], so a table that a CPU may have loaded is
//! never undone: a vcpu's tables change only on the CPU that has it loaded, or while none has.

use super::frame::{self, Mfn, TypedRef};
use super::layout::HOLE_FIRST_SLOT;
use super::typing::{self, Budget, Fail};
use super::{flush, paging};
use crate::domain::{Domain, Vcpu};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use xen_abi::Errno;
use xen_logic::frame::Type;

/// An entry that maps nothing.
const NO_M2P: u64 = 0;

/// Puts a checked L4 table into `slot`, and drops the use of the one that was there; in between `load` runs, so that
/// no CPU has the old one loaded when it goes. `m2p` is the table's entry for the machine-to-physical table: guest
/// kernels read that, guest users do not see it.
fn exchange(
    v: &Vcpu,
    slot: &AtomicU64,
    mfn: Option<Mfn>,
    m2p: u64,
    budget: &mut Budget,
    load: impl FnOnce(u64),
) -> Result<(), Fail> {
    if let Some(mfn) = mfn {
        let table = typing::ram(mfn.0)?;
        typing::acquire(table, Type::L4, v.domain(), false, budget)?;
        let entry = table.word(HOLE_FIRST_SLOT);
        if entry.load(Relaxed) != m2p {
            entry.store(m2p, Relaxed);
        }
    }
    let new = mfn.map_or(0, Mfn::maddr);
    let old = slot.swap(new, Relaxed);
    load(new);
    if old != 0 {
        typing::release(frame::entry(Mfn(old >> 12)), budget);
    }
    Ok(())
}

/// `MMUEXT_NEW_BASEPTR` of the current vcpu, whose kernel runs: loads the table.
///
/// # Errors
/// `EINVAL` where the frame is no L4 table of the domain's; `Again`.
pub fn set_kernel_base(cur: &'static Vcpu, mfn: Mfn, budget: &mut Budget) -> Result<(), Fail> {
    exchange(
        cur,
        &cur.hot.kernel_cr3,
        Some(mfn),
        paging::m2p_entry(),
        budget,
        |cr3| {
            // SAFETY: a checked L4 table with the hypervisor's slots; `kernel_cr3` holds a use of it.
            unsafe { flush::load_cr3(cr3) }
        },
    )
}

/// `MMUEXT_NEW_USER_BASEPTR`: loaded when the guest next goes to user mode. No frame: none.
///
/// # Errors
/// As [`set_kernel_base`].
pub fn set_user_base(cur: &'static Vcpu, mfn: Option<Mfn>, budget: &mut Budget) -> Result<(), Fail> {
    exchange(cur, &cur.hot.user_cr3, mfn, NO_M2P, budget, |_| ())
}

/// Has the tables checked that are to be a vcpu's first ones, and keeps them so until the answer is dropped: setting the
/// base pointers then takes no time. For hypercalls that can be continued.
///
/// # Errors
/// `EINVAL` where a frame is no L4 table of the domain's; `Again`: what was checked stays so, and the same call goes on.
pub fn hold_tables(domain: &Domain, kernel: u64, user: Option<u64>) -> Result<[Option<TypedRef>; 2], Fail> {
    let budget = &mut Budget::limited();
    let mut hold = |mfn| frame::get_table(Mfn(mfn), domain, Type::L4, budget);
    let kernel = hold(kernel)?;
    Ok([Some(kernel), user.map(hold).transpose()?])
}

/// Sets both tables of a vcpu that is not initialised: no CPU has it loaded. Where a check may take long, the caller
/// holds the tables ([`hold_tables`]).
///
/// # Errors
/// `EINVAL` where a frame is no L4 table of the domain's.
pub fn set_base_pointers(v: &Vcpu, kernel: u64, user: Option<u64>) -> Result<(), Errno> {
    let budget = &mut Budget::unlimited();
    exchange(
        v,
        &v.hot.kernel_cr3,
        Some(Mfn(kernel)),
        paging::m2p_entry(),
        budget,
        |_| (),
    )
    .map_err(Fail::errno)?;
    exchange(v, &v.hot.user_cr3, user.map(Mfn), NO_M2P, budget, |_| ()).map_err(Fail::errno)
}

/// Drops both tables of a vcpu that does not run any more and is loaded nowhere. `false` if the budget ended before the
/// second one; a table whose undoing takes long goes to the pending list.
pub fn clear_base_pointers(v: &Vcpu, budget: &mut Budget) -> bool {
    for slot in [&v.hot.kernel_cr3, &v.hot.user_cr3] {
        if budget.is_spent() {
            return false;
        }
        let old = slot.swap(0, Relaxed);
        if old != 0 {
            typing::release(frame::entry(Mfn(old >> 12)), budget);
        }
    }
    true
}
