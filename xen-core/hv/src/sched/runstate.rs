//! How a vcpu spends its time, as its guest sees it.

use super::{Inner, lock_queue_of};
use crate::domain::Vcpu;
use crate::time::{self, Area};
use core::sync::atomic::Ordering::Relaxed;
use xen_abi::{Errno, VMASST_TYPE_runstate_update_flag, XEN_RUNSTATE_UPDATE, vcpu_runstate_info};

/// The vcpu's times as of now (`VCPUOP_get_runstate_info`).
pub fn run_state(v: &Vcpu) -> vcpu_runstate_info {
    let (_queue, _) = lock_queue_of(v);
    // SAFETY: the lock of its queue is held.
    let run = &unsafe { v.sched.inner.get() }.run;
    vcpu_runstate_info {
        state: run.state as i32,
        _pad: 0,
        state_entry_time: run.since,
        time: run.at(time::now()),
    }
}

/// Sets or, for address 0, drops the area that shows a vcpu's run state
/// (`VCPUOP_register_runstate_memory_area`).
///
/// # Errors
/// As [`Area::new`].
pub fn register_runstate_area(cur: &Vcpu, v: &Vcpu, addr: u64) -> Result<(), Errno> {
    let area = if addr == 0 {
        None
    } else {
        Some(Area::new(cur, addr, 6)?)
    };
    let (_queue, _) = lock_queue_of(v);
    let old = core::mem::replace(&mut *v.time.runstate_area.lock(), area);
    // SAFETY: the lock of its queue is held.
    show(v, unsafe { v.sched.inner.get() });
    drop(_queue);
    drop(old);
    Ok(())
}

/// Writes the vcpu's run state where its guest wants it. The lock of its queue is held, or it is current.
#[inline]
pub(super) fn show(v: &Vcpu, inner: &Inner) {
    let Some(area) = &*v.time.runstate_area.lock() else {
        return;
    };
    let run = &inner.run;
    let marks = v.domain().vm_assist.load(Relaxed) & 1 << VMASST_TYPE_runstate_update_flag != 0;
    let since = run.since | if marks { XEN_RUNSTATE_UPDATE } else { 0 };
    area.write(1, since);
    area.write(0, run.state as u64);
    for (n, spent) in run.spent.iter().enumerate() {
        area.write(2 + n, *spent);
    }
    if marks {
        area.write(1, run.since);
    }
}
