//! The L4 tables a vcpu runs on.
//!
//! `kernel_table` and `user_table` each hold a use of their table as [`Type::L4`], so a table that a CPU may have loaded
//! is never undone: a vcpu's tables change only on the CPU that has it loaded, or while none has. What CPUs load stands
//! in `kernel_cr3` and `user_cr3`: the tables themselves, or their shadows as long as the domain is tracked.

use super::frame::{self, FrameInfo, Mfn, TypedRef};
use super::layout::HOLE_FIRST_SLOT;
use super::typing::{self, Budget, Fail};
use super::{flush, logdirty, paging};
use crate::domain::{Domain, Vcpu};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use xen_abi::Errno;
use xen_logic::frame::Type;

/// An entry that maps nothing.
const NO_M2P: u64 = 0;

/// One of a vcpu's two address spaces: its table, and what CPUs load for it.
struct Base<'a> {
    table: &'a AtomicU64,
    loaded: &'a AtomicU64,
}

impl Base<'_> {
    const fn kernel(v: &Vcpu) -> Base<'_> {
        Base {
            table: &v.hot.kernel_table,
            loaded: &v.hot.kernel_cr3,
        }
    }

    const fn user(v: &Vcpu) -> Base<'_> {
        Base {
            table: &v.hot.user_table,
            loaded: &v.hot.user_cr3,
        }
    }

    /// No table any more; answers the one that there was, whose use the caller then holds.
    fn take(&self, domain: &Domain) -> Option<&'static FrameInfo> {
        self.loaded.store(0, Relaxed);
        let old = Some(Mfn(self.table.swap(0, Relaxed) >> 12)).filter(|old| old.0 != 0)?;
        logdirty::leave_root(domain, old);
        Some(frame::entry(old))
    }
}

/// Puts a checked L4 table into `base`, and drops the use of the one that was there; in between `load` runs, so that
/// no CPU has the old one loaded when it goes. `m2p` is the table's entry for the machine-to-physical table: guest
/// kernels read that, guest users do not see it.
fn exchange(
    v: &Vcpu,
    base: &Base,
    mfn: Option<Mfn>,
    m2p: u64,
    budget: &mut Budget,
    load: impl FnOnce(u64),
) -> Result<(), Fail> {
    let mut loaded = 0;
    if let Some(mfn) = mfn {
        let table = typing::ram(mfn.0)?;
        typing::acquire(table, Type::L4, v.domain(), false, budget)?;
        let entry = table.word(HOLE_FIRST_SLOT);
        if entry.load(Relaxed) != m2p {
            entry.store(m2p, Relaxed);
        }
        match logdirty::use_root(v.domain(), mfn) {
            Ok(root) => loaded = root.maddr(),
            Err(errno) => {
                typing::release(table, budget);
                return Err(errno.into());
            }
        }
    }
    let old = base.table.swap(mfn.map_or(0, Mfn::maddr), Relaxed);
    base.loaded.store(loaded, Relaxed);
    load(loaded);
    if old != 0 {
        logdirty::leave_root(v.domain(), Mfn(old >> 12));
        typing::release(frame::entry(Mfn(old >> 12)), budget);
    }
    Ok(())
}

/// Makes a vcpu that is loaded nowhere run on shadows of its tables, when its domain begins to be tracked.
///
/// # Errors
/// `ENOMEM`; [`leave_shadows`] takes back what was done.
pub fn take_shadows(v: &'static Vcpu) -> Result<(), Errno> {
    for base in [Base::kernel(v), Base::user(v)] {
        let table = Mfn(base.table.load(Relaxed) >> 12);
        if table.0 != 0 {
            base.loaded
                .store(logdirty::use_root(v.domain(), table)?.maddr(), Relaxed);
        }
    }
    Ok(())
}

/// Makes a vcpu that is loaded nowhere run on its own tables.
pub fn leave_shadows(v: &'static Vcpu) {
    for base in [Base::kernel(v), Base::user(v)] {
        base.loaded.store(base.table.load(Relaxed), Relaxed);
    }
}

/// `MMUEXT_NEW_BASEPTR` of the current vcpu, whose kernel runs: loads the table.
///
/// # Errors
/// `EINVAL` where the frame is no L4 table of the domain's; `Again`.
pub fn set_kernel_base(cur: &'static Vcpu, mfn: Mfn, budget: &mut Budget) -> Result<(), Fail> {
    let base = Base::kernel(cur);
    exchange(cur, &base, Some(mfn), paging::m2p_entry(), budget, |cr3| {
        // SAFETY: a checked L4 table with the hypervisor's slots, or its shadow; `base` holds a use of the table.
        unsafe { flush::load_cr3(cr3) }
    })
}

/// `MMUEXT_NEW_USER_BASEPTR`: loaded when the guest next goes to user mode. No frame: none.
///
/// # Errors
/// As [`set_kernel_base`].
pub fn set_user_base(cur: &'static Vcpu, mfn: Option<Mfn>, budget: &mut Budget) -> Result<(), Fail> {
    exchange(cur, &Base::user(cur), mfn, NO_M2P, budget, |_| ())
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
    let m2p = paging::m2p_entry();
    exchange(v, &Base::kernel(v), Some(Mfn(kernel)), m2p, budget, |_| ()).map_err(Fail::errno)?;
    exchange(v, &Base::user(v), user.map(Mfn), NO_M2P, budget, |_| ()).map_err(Fail::errno)
}

/// Drops both tables of a vcpu that does not run any more and is loaded nowhere. `false` if the budget ended before the
/// second one; a table whose undoing takes long goes to the pending list.
pub fn clear_base_pointers(v: &Vcpu, budget: &mut Budget) -> bool {
    for base in [Base::kernel(v), Base::user(v)] {
        if budget.is_spent() {
            return false;
        }
        if let Some(table) = base.take(v.domain()) {
            typing::release(table, budget);
        }
    }
    true
}
