//! Questions about a domain.

use super::Request;
use super::context::vcpu;
use crate::domain::life::Stage;
use crate::domain::{self, Domain, Vcpu};
use crate::{event, sched};
use core::sync::atomic::Ordering::Relaxed;
use xen_abi::*;
use zerocopy::FromZeros;

/// What `getdomaininfo` and `getdomaininfolist` say about a domain.
pub(in crate::hypercall) fn describe(domain: &Domain) -> xen_domctl_getdomaininfo {
    let mut info = xen_domctl_getdomaininfo::new_zeroed();
    info.domain = domain.id;
    info.max_vcpu_id = XEN_INVALID_MAX_VCPU_ID;
    let mut activity = XEN_DOMINF_blocked;
    for v in domain.vcpus() {
        info.max_vcpu_id = v.id;
        info.cpu_time += time_run(v);
        if sched::is_down(v) {
            continue;
        }
        info.nr_online_vcpus += 1;
        if !sched::is_blocked(v) {
            activity &= !XEN_DOMINF_blocked;
        }
        if sched::is_running(v) {
            activity |= XEN_DOMINF_running;
        }
    }
    let life = &domain.life;
    for (holds, flag) in [
        (info.nr_online_vcpus != 0, activity),
        (life.stage() >= Stage::Dead, XEN_DOMINF_dying),
        (life.is_paused(), XEN_DOMINF_paused),
        (domain.flags & XEN_DOMCTL_CDF_xs_domain != 0, XEN_DOMINF_xs_domain),
        (life.is_shut_down(), XEN_DOMINF_shutdown),
        // Set before the end, too, where the guest has named it, and all ones where nobody has.
        (true, shutdown_code(domain)),
    ] {
        info.flags |= if holds { flag } else { 0 };
    }
    info.tot_pages = domain.mm.tot_pages.load(Relaxed);
    info.max_pages = domain.mm.max_pages.load(Relaxed);
    info.outstanding_pages = domain.mm.claim.load(Relaxed);
    info.shared_info_frame = event::shared_info_frame(domain).map_or(0, |mfn| mfn.0);
    info.handle = *domain.handle.lock();
    info.cpupool = sched::pool_of(domain);
    info
}

fn shutdown_code(domain: &Domain) -> u32 {
    let code = domain.shutdown_code.load(Relaxed) & XEN_DOMINF_shutdownmask;
    code << XEN_DOMINF_shutdownshift
}

/// Nanoseconds that a vcpu has run.
fn time_run(vcpu: &Vcpu) -> u64 {
    sched::run_state(vcpu).time[RUNSTATE_running as usize]
}

/// Describes the domain, or the next one above: tools go through all domains that way.
pub(super) fn domain_info(r: &mut Request) -> Result<(), Errno> {
    let info = describe(&*domain::next_from(r.ask.domain).ok_or(Errno::ESRCH)?);
    r.ask.domain = info.domain;
    r.ask.set_payload(&info);
    Ok(())
}

pub(super) fn vcpu_info(r: &mut Request) -> Result<(), Errno> {
    r.serve(|r, op: &mut xen_domctl_getvcpuinfo| {
        let domain = r.domain()?;
        let vcpu = vcpu(&domain, op.vcpu)?;
        let state = sched::run_state(vcpu);
        op.online = u8::from(!sched::is_down(vcpu));
        op.blocked = u8::from(sched::is_blocked(vcpu));
        op.running = u8::from(sched::is_running(vcpu));
        op.cpu_time = state.time[RUNSTATE_running as usize];
        op.cpu = sched::cpu_of(vcpu) as u32;
        Ok(())
    })
}
