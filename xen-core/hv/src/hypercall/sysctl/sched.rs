//! The scheduler and its one pool of CPUs.

use crate::domain;
use crate::hypercall::bitmap;
use crate::sched;
use xen_abi::*;
use xen_logic::sched::MIN_TURN;

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

/// The shortest turn of a vcpu, in microseconds. It is fixed: another one is refused.
pub(super) fn scheduler_op(op: &mut SchedulerOp) -> Result<(), Errno> {
    const RATELIMIT_US: u32 = (MIN_TURN / 1000) as u32;
    if op.sched_id != XEN_SCHEDULER_CREDIT2 || op.cpupool_id != 0 {
        return Err(Errno::EINVAL);
    }
    match op.cmd {
        XEN_SYSCTL_SCHEDOP_getinfo => op.credit2.ratelimit_us = RATELIMIT_US,
        XEN_SYSCTL_SCHEDOP_putinfo if op.credit2.ratelimit_us == RATELIMIT_US => {}
        XEN_SYSCTL_SCHEDOP_putinfo => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::EINVAL),
    }
    Ok(())
}

/// One pool, number 0, with all CPUs and all domains.
pub(super) fn cpupool(op: &mut xen_sysctl_cpupool_op) -> Result<(), Errno> {
    match op.op {
        XEN_SYSCTL_CPUPOOL_OP_INFO => {
            if op.cpupool_id != 0 && op.cpupool_id != XEN_SYSCTL_CPUPOOL_PAR_ANY {
                return Err(Errno::ENOENT);
            }
            op.cpupool_id = 0;
            op.sched_id = XEN_SCHEDULER_CREDIT2;
            op.n_dom = 0;
            domain::for_each(|d| op.n_dom += u32::from(!d.is_idle()));
            bitmap::write(&op.cpumap, sched::online())
        }
        // No CPU is outside the pool.
        XEN_SYSCTL_CPUPOOL_OP_FREEINFO => bitmap::write(&op.cpumap, 0),
        XEN_SYSCTL_CPUPOOL_OP_MOVEDOMAIN if op.cpupool_id == 0 => {
            let domain = u16::try_from(op.domid).ok().and_then(domain::find);
            domain.map(drop).ok_or(Errno::ESRCH)
        }
        _ => Err(Errno::EOPNOTSUPP),
    }
}
