//! `domctl`: control of domains by the toolstack. One operation at a time: they share a lock, and whoever finds it
//! taken tries again.
//!
//! Privilege is checked here once, for all operations: only the domain with the machine may make them.

mod build;
mod context;
mod cpu_policy;
mod extended;
mod frames;
mod info;
mod life;
mod rights;
mod sched;
mod shadow;

pub(super) use cpu_policy::{MAX_MSRS, write_leaves};
pub(super) use info::describe;

use super::{Outcome, Stop, not_built};
use crate::domain::{self, Domain, Vcpu};
use crate::guest::{GuestPtr, Wire};
use crate::sync::Mutex;
use alloc::sync::Arc;
use xen_abi::*;

/// Held by the operation that is under way on some CPU.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What an operation works on.
struct Request<'a> {
    /// The vcpu that asks.
    cur: &'static Vcpu,
    /// The request, copied in once; what is to be copied out is changed in it.
    ask: xen_domctl,
    /// The hypercall's arguments, for a continuation.
    args: &'a [u64; 6],
}

impl Request<'_> {
    /// The domain that it is about, dying or not.
    fn domain(&self) -> Result<Arc<Domain>, Errno> {
        domain::find(self.ask.domain).ok_or(Errno::ESRCH)
    }

    /// The domain that it is about, which must not be dying.
    fn living(&self) -> Result<Arc<Domain>, Errno> {
        domain::find_alive(self.ask.domain)
    }

    /// The living domain that it is about, which must not be the caller's own.
    fn other(&self) -> Result<Arc<Domain>, Errno> {
        let domain = self.living()?;
        if domain.id == self.cur.domain().id {
            return Err(Errno::EINVAL);
        }
        Ok(domain)
    }

    /// Lets `serve` change one arm of the request.
    fn serve<T: Wire>(&mut self, serve: impl FnOnce(&Self, &mut T) -> Result<(), Errno>) -> Result<(), Errno> {
        let mut arm: T = self.ask.payload();
        serve(self, &mut arm)?;
        self.ask.set_payload(&arm);
        Ok(())
    }
}

/// The hypercall: the request.
pub fn domctl(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    if !cur.domain().privileged {
        return Err(Errno::EPERM.into());
    }
    let at = GuestPtr::<xen_domctl>::new(args[0]);
    let ask = at.read()?;
    if ask.interface_version != XEN_DOMCTL_INTERFACE_VERSION {
        return Err(Errno::EACCES.into());
    }
    let Some(_held) = ONE_AT_A_TIME.try_lock() else {
        super::preempt_needed();
        return Err(Stop::Again(*args));
    };
    let mut request = Request { cur, ask, args };
    carry_out(&mut request)?;
    at.write(&request.ask)?;
    Ok(0)
}

/// One table of all operations.
fn carry_out(r: &mut Request) -> Result<(), Stop> {
    match r.ask.cmd {
        XEN_DOMCTL_createdomain => build::create(r)?,
        XEN_DOMCTL_max_vcpus => return build::max_vcpus(r),
        XEN_DOMCTL_max_mem => build::max_mem(r)?,
        XEN_DOMCTL_hypercall_init => build::hypercall_init(r)?,
        XEN_DOMCTL_set_address_size => build::set_address_size(r)?,
        XEN_DOMCTL_get_address_size => build::get_address_size(r)?,
        XEN_DOMCTL_settscinfo => build::set_tsc_info(r)?,
        XEN_DOMCTL_gettscinfo => build::get_tsc_info(r)?,
        XEN_DOMCTL_settimeoffset => build::set_time_offset(r)?,
        XEN_DOMCTL_setdomainhandle => build::set_handle(r)?,
        XEN_DOMCTL_setnodeaffinity => build::set_node_affinity(r)?,
        XEN_DOMCTL_getnodeaffinity => build::get_node_affinity(r)?,

        XEN_DOMCTL_destroydomain => return life::destroy(r),
        XEN_DOMCTL_pausedomain => life::pause(r)?,
        XEN_DOMCTL_unpausedomain => life::unpause(r)?,
        XEN_DOMCTL_resumedomain => life::resume(r)?,
        XEN_DOMCTL_subscribe => life::subscribe(r)?,
        XEN_DOMCTL_sendtrigger => life::send_trigger(r)?,

        XEN_DOMCTL_getdomaininfo => info::domain_info(r)?,
        XEN_DOMCTL_getvcpuinfo => info::vcpu_info(r)?,
        XEN_DOMCTL_shadow_op => return shadow::operate(r),
        XEN_DOMCTL_getpageframeinfo3 => frames::type_info(r)?,

        XEN_DOMCTL_setvcpuaffinity => sched::set_affinity(r)?,
        XEN_DOMCTL_getvcpuaffinity => sched::get_affinity(r)?,
        XEN_DOMCTL_scheduler_op => sched::scheduler_op(r)?,

        XEN_DOMCTL_setvcpucontext => return context::set(r),
        XEN_DOMCTL_getvcpucontext => context::get(r)?,
        XEN_DOMCTL_set_ext_vcpucontext => extended::set_ext(r)?,
        XEN_DOMCTL_get_ext_vcpucontext => extended::get_ext(r)?,
        XEN_DOMCTL_setvcpuextstate => extended::set_state(r)?,
        XEN_DOMCTL_getvcpuextstate => extended::get_state(r)?,
        XEN_DOMCTL_set_vcpu_msrs => return extended::set_msrs(r),
        XEN_DOMCTL_get_vcpu_msrs => extended::get_msrs(r)?,

        XEN_DOMCTL_get_cpu_policy => cpu_policy::get(r)?,
        XEN_DOMCTL_set_cpu_policy => cpu_policy::set(r)?,

        XEN_DOMCTL_irq_permission => rights::irq(r)?,
        XEN_DOMCTL_ioport_permission => rights::ports(r)?,
        XEN_DOMCTL_iomem_permission => rights::memory(r)?,
        XEN_DOMCTL_set_virq_handler => rights::virq_handler(r)?,
        // There is no IOMMU: no device can be given away, which is how tools ask.
        XEN_DOMCTL_assign_device | XEN_DOMCTL_test_assign_device | XEN_DOMCTL_deassign_device => {
            return Err(Errno::ENODEV.into());
        }
        cmd => return Err(not_built(__HYPERVISOR_domctl, operation(cmd))),
    }
    Ok(())
}

/// What a `domctl` that is not built is called in the log.
fn operation(cmd: u32) -> &'static str {
    match cmd {
        XEN_DOMCTL_setdebugging => "setdebugging",
        XEN_DOMCTL_set_target => "set_target",
        XEN_DOMCTL_setvnumainfo => "setvnumainfo",
        XEN_DOMCTL_get_device_group => "get_device_group",
        _ => "operation",
    }
}
