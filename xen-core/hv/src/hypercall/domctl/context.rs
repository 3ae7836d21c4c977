//! Reading and setting the state of a vcpu that does not run.

use super::Request;
use crate::domain::{self, Domain, Vcpu, context};
use crate::guest::GuestPtr;
use crate::hypercall::Stop;
use crate::sched::{self, Hold};
use core::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use xen_abi::*;
use zerocopy::FromZeros;

/// Stops a vcpu while `f` looks at it: no CPU runs it or holds its state.
pub(super) fn with_stopped<T>(v: &'static Vcpu, f: impl FnOnce() -> T) -> T {
    sched::hold(v, Hold::CONTROL);
    sched::wait_stopped(v);
    context::unload_everywhere(v);
    let answer = f();
    sched::let_go(v, Hold::CONTROL);
    answer
}

/// `EINVAL` beyond the number the domain was made for, `ESRCH` for a vcpu that is not made yet.
pub(super) fn vcpu(domain: &Domain, id: u32) -> Result<&'static Vcpu, Errno> {
    if id >= domain.max_vcpus() {
        return Err(Errno::EINVAL);
    }
    domain.vcpu(id).ok_or(Errno::ESRCH)
}

/// Gives a vcpu its first context, or changes the registers of one that has run.
#[inline(never)]
pub(super) fn set(r: &mut Request) -> Result<(), Stop> {
    let ask: xen_domctl_vcpucontext = r.ask.payload();
    let domain = r.other()?;
    let v = vcpu(&domain, ask.vcpu)?;
    let mut wanted = vcpu_guest_context::new_zeroed();
    GuestPtr::new(ask.ctxt).read_slice(core::slice::from_mut(&mut wanted))?;
    let _tables = if v.initialised.load(Acquire) {
        None
    } else {
        Some(domain::hold_tables(&domain, &wanted, r.args)?)
    };
    // The guest may be giving it a context of its own.
    if v.sched.being_set_up.swap(true, SeqCst) {
        return Err(Errno::EBUSY.into());
    }
    let done = with_stopped(v, || {
        if v.initialised.load(Acquire) {
            domain::vcpu_change(v, &wanted)
        } else {
            if v.id == 0 {
                domain
                    .vm_assist
                    .store(wanted.vm_assist & super::super::vm_assist::VALID, Relaxed);
            }
            domain::vcpu_initialise(v, &wanted)
        }
    });
    v.sched.being_set_up.store(false, SeqCst);
    done?;
    if wanted.flags & VGCF_online != 0 {
        sched::up(v);
    } else {
        sched::down(v);
    }
    Ok(())
}

/// Copies a vcpu's context out.
#[inline(never)]
pub(super) fn get(r: &mut Request) -> Result<(), Errno> {
    let ask: xen_domctl_vcpucontext = r.ask.payload();
    let domain = r.other()?;
    let v = vcpu(&domain, ask.vcpu)?;
    if !v.initialised.load(Acquire) {
        return Err(Errno::ENODATA);
    }
    let mut found = vcpu_guest_context::new_zeroed();
    with_stopped(v, || domain::vcpu_describe(v, &mut found));
    GuestPtr::new(ask.ctxt).write_slice(core::slice::from_ref(&found))
}
