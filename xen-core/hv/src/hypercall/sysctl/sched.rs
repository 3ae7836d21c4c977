//! The scheduler and its pools of CPUs.

use crate::arch::x86::percpu::current;
use crate::domain;
use crate::hypercall::bitmap;
use crate::sched;
use xen_abi::*;

/// Weights and caps mean here what they mean to Xen's credit2.
pub(super) fn id(op: &mut xen_sysctl_sched_id) -> Result<(), Errno> {
    op.sched_id = XEN_SCHEDULER_CREDIT2;
    Ok(())
}

/// `struct xen_sysctl_scheduler_op`: pool, scheduler, command, then the scheduler's own words.
#[derive(Clone, Copy, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)]
#[repr(C)]
pub(super) struct SchedulerOp {
    cpupool_id: u32,
    sched_id: u32,
    cmd: u32,
    _pad: u32,
    credit2: xen_sysctl_credit2_schedule,
    _rest: u32,
}

/// The shortest turn of a vcpu, in microseconds: one for all pools. 0 lets whoever wakes take the CPU at once.
pub(super) fn scheduler_op(op: &mut SchedulerOp) -> Result<(), Errno> {
    const ALLOWED_US: core::ops::RangeInclusive<u32> = 100..=500_000;
    if !sched::is_pool(op.cpupool_id) {
        return Err(Errno::ESRCH);
    }
    if op.sched_id != XEN_SCHEDULER_CREDIT2 {
        return Err(Errno::EINVAL);
    }
    match op.cmd {
        XEN_SYSCTL_SCHEDOP_getinfo => op.credit2.ratelimit_us = (sched::min_turn() / 1000) as u32,
        XEN_SYSCTL_SCHEDOP_putinfo => {
            let us = op.credit2.ratelimit_us;
            if us != 0 && !ALLOWED_US.contains(&us) {
                return Err(Errno::EINVAL);
            }
            sched::set_min_turn(u64::from(us) * 1000);
        }
        _ => return Err(Errno::EINVAL),
    }
    Ok(())
}

/// Pools of CPUs.
pub(super) fn cpupool(op: &mut xen_sysctl_cpupool_op) -> Result<(), Errno> {
    match op.op {
        XEN_SYSCTL_CPUPOOL_OP_CREATE if op.sched_id != XEN_SCHEDULER_CREDIT2 => Err(Errno::ENOENT),
        XEN_SYSCTL_CPUPOOL_OP_CREATE => {
            op.cpupool_id = sched::create_pool(op.cpupool_id)?;
            Ok(())
        }
        XEN_SYSCTL_CPUPOOL_OP_DESTROY => sched::destroy_pool(op.cpupool_id),
        XEN_SYSCTL_CPUPOOL_OP_INFO => {
            let pool = sched::pool_info(op.cpupool_id).ok_or(Errno::ENOENT)?;
            op.cpupool_id = pool.id;
            op.sched_id = XEN_SCHEDULER_CREDIT2;
            op.n_dom = pool.domains;
            bitmap::write(&op.cpumap, pool.cpus)
        }
        XEN_SYSCTL_CPUPOOL_OP_ADDCPU => sched::add_cpu(op.cpupool_id, op.cpu),
        XEN_SYSCTL_CPUPOOL_OP_RMCPU => sched::remove_cpu(op.cpupool_id, op.cpu),
        XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN => {
            let domain = u16::try_from(op.domid)
                .ok()
                .and_then(domain::find)
                .ok_or(Errno::ESRCH)?;
            if core::ptr::eq(&*domain, current().domain()) {
                return Err(Errno::EPERM);
            }
            sched::move_domain(&domain, op.cpupool_id)
        }
        XEN_SYSCTL_CPUPOOL_OP_FREEINFO => bitmap::write(&op.cpumap, sched::free_cpus()),
        _ => Err(Errno::EOPNOTSUPP),
    }
}
