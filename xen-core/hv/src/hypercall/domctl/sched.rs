//! A domain's share of the CPUs, and where its vcpus may run.

use super::Request;
use super::context::vcpu;
use crate::hypercall::bitmap;
use crate::sched;
use xen_abi::*;

/// Sets where a vcpu may run (hard) and where it would rather (soft); answers what that comes to.
pub(super) fn set_affinity(r: &mut Request) -> Result<(), Errno> {
    let op: xen_domctl_vcpuaffinity = r.ask.payload();
    let domain = r.living()?;
    let v = vcpu(&domain, op.vcpu)?;
    let known = XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT | XEN_VCPUAFFINITY_FORCE;
    if op.flags & (XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT) == 0 || op.flags & !known != 0 {
        return Err(Errno::EINVAL);
    }
    let online = sched::online();
    if op.flags & XEN_VCPUAFFINITY_FORCE != 0 {
        sched::forget_pin(v);
    }
    if op.flags & XEN_VCPUAFFINITY_HARD != 0 {
        let wanted = bitmap::read(&op.cpumap_hard)? & online;
        sched::set_hard_affinity(v, wanted)?;
        bitmap::write(&op.cpumap_hard, wanted)?;
    }
    if op.flags & XEN_VCPUAFFINITY_SOFT != 0 {
        let wanted = bitmap::read(&op.cpumap_soft)?;
        sched::set_soft_affinity(v, wanted);
        bitmap::write(&op.cpumap_soft, wanted & online & sched::affinity(v))?;
    }
    Ok(())
}

pub(super) fn get_affinity(r: &mut Request) -> Result<(), Errno> {
    let op: xen_domctl_vcpuaffinity = r.ask.payload();
    let domain = r.domain()?;
    let v = vcpu(&domain, op.vcpu)?;
    for (flag, map, mask) in [
        (XEN_VCPUAFFINITY_HARD, &op.cpumap_hard, sched::affinity(v)),
        (XEN_VCPUAFFINITY_SOFT, &op.cpumap_soft, sched::soft_affinity(v)),
    ] {
        if op.flags & flag != 0 {
            bitmap::write(map, mask)?;
        }
    }
    Ok(())
}

/// Reads or sets the domain's weight and cap, in the form of the credit2 scheduler, which is what tools are told.
pub(super) fn scheduler_op(r: &mut Request) -> Result<(), Errno> {
    r.serve(|r, op: &mut xen_domctl_scheduler_op| {
        if op.sched_id != XEN_SCHEDULER_CREDIT2 {
            return Err(Errno::EINVAL);
        }
        let word = op.u[0];
        match op.cmd {
            XEN_DOMCTL_SCHEDOP_getinfo => {
                let (weight, cap) = sched::share(&*r.domain()?);
                op.u[0] = u64::from(weight as u16) | u64::from(cap as u16) << 16;
                Ok(())
            }
            XEN_DOMCTL_SCHEDOP_putinfo => {
                let domain = r.living()?;
                // Weight 0 leaves it as it is.
                let weight = match word as u16 {
                    0 => sched::share(&domain).0,
                    weight => weight.into(),
                };
                sched::set_share(&domain, weight, ((word >> 16) as u16).into());
                Ok(())
            }
            _ => Err(Errno::EINVAL),
        }
    })
}
