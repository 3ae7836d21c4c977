//! `domctl`: control of domains by the toolstack. Only questions about domains are answered yet.

use super::sysctl::write_bitmap;
use super::{Outcome, not_built};
use crate::domain::{self, Domain, Vcpu};
use crate::guest::{GuestPtr, Wire};
use crate::{event, sched};
use core::sync::atomic::Ordering::Relaxed;
use xen_abi::*;
use zerocopy::FromZeros;

/// What `getdomaininfo` and `getdomaininfolist` say about a domain.
pub(super) fn describe(domain: &Domain) -> xen_domctl_getdomaininfo {
    let mut info = xen_domctl_getdomaininfo::new_zeroed();
    info.domain = domain.id;
    info.flags = XEN_DOMINF_running;
    if domain.shutting_down.load(Relaxed) {
        info.flags = XEN_DOMINF_shutdown | domain.shutdown_code.load(Relaxed) << XEN_DOMINF_shutdownshift;
    }
    info.tot_pages = domain.mm.tot_pages.load(Relaxed);
    info.max_pages = domain.mm.max_pages.load(Relaxed);
    info.cpu_time = domain.vcpus().map(time_run).sum();
    info.shared_info_frame = event::shared_info_frame(domain).map_or(0, |mfn| mfn.0);
    info.nr_online_vcpus = domain.vcpus().filter(|v| v.initialised.load(Relaxed)).count() as u32;
    info.max_vcpu_id = domain.max_vcpus() - 1;
    info
}

/// The hypercall.
pub fn domctl(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    if !cur.domain().privileged {
        return Err(Errno::EPERM.into());
    }
    let at = GuestPtr::<xen_domctl>::new(args[0]);
    let mut request = at.read()?;
    if request.interface_version != XEN_DOMCTL_INTERFACE_VERSION {
        return Err(Errno::EACCES.into());
    }
    let domain = domain::find(request.domain)
        .filter(|d| !d.is_idle())
        .ok_or(Errno::ESRCH)?;
    match request.cmd {
        XEN_DOMCTL_getdomaininfo => request.set_payload(&describe(&domain)),
        XEN_DOMCTL_getvcpuinfo => serve(&mut request, |op| vcpu_info(&domain, op))?,
        XEN_DOMCTL_getvcpuaffinity => serve(&mut request, |op| vcpu_affinity(&domain, op))?,
        cmd => return Err(not_built(__HYPERVISOR_domctl, operation(cmd))),
    }
    at.write(&request)?;
    Ok(0)
}

/// What a `domctl` that is not built yet is called in the log.
fn operation(cmd: u32) -> &'static str {
    match cmd {
        XEN_DOMCTL_createdomain => "createdomain",
        XEN_DOMCTL_destroydomain => "destroydomain",
        XEN_DOMCTL_max_mem => "max_mem",
        XEN_DOMCTL_max_vcpus => "max_vcpus",
        XEN_DOMCTL_setvcpuaffinity => "setvcpuaffinity",
        XEN_DOMCTL_scheduler_op => "scheduler_op",
        XEN_DOMCTL_set_virq_handler => "set_virq_handler",
        _ => "operation",
    }
}

/// Takes one arm out of the request, lets `answer` change it, and puts it back.
fn serve<T: Wire>(request: &mut xen_domctl, answer: impl FnOnce(&mut T) -> Result<(), Errno>) -> Result<(), Errno> {
    let mut arm: T = request.payload();
    answer(&mut arm)?;
    request.set_payload(&arm);
    Ok(())
}

/// Nanoseconds that a vcpu has run.
fn time_run(vcpu: &Vcpu) -> u64 {
    sched::run_state(vcpu).time[RUNSTATE_running as usize]
}

fn vcpu_info(domain: &Domain, op: &mut xen_domctl_getvcpuinfo) -> Result<(), Errno> {
    if op.vcpu >= domain.max_vcpus() {
        return Err(Errno::EINVAL);
    }
    let vcpu = domain.vcpu(op.vcpu).ok_or(Errno::ESRCH)?;
    let state = sched::run_state(vcpu);
    op.online = u8::from(!sched::is_down(vcpu));
    op.blocked = u8::from(state.state == RUNSTATE_blocked);
    op.running = u8::from(state.state == RUNSTATE_running);
    op.cpu_time = state.time[RUNSTATE_running as usize];
    op.cpu = sched::cpu_of(vcpu) as u32;
    Ok(())
}

/// There is one affinity, which is hard; it is what soft affinity asks for too.
fn vcpu_affinity(domain: &Domain, op: &mut xen_domctl_vcpuaffinity) -> Result<(), Errno> {
    let vcpu = domain.vcpu(op.vcpu).ok_or(Errno::ESRCH)?;
    let mask = sched::affinity(vcpu);
    for (flag, map) in [
        (XEN_VCPUAFFINITY_HARD, &op.cpumap_hard),
        (XEN_VCPUAFFINITY_SOFT, &op.cpumap_soft),
    ] {
        if op.flags & flag != 0 {
            write_bitmap(map, mask)?;
        }
    }
    Ok(())
}
