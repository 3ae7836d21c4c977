//! What CPUs do when they have nothing to do: they halt. Frequencies stay the firmware's.

use crate::arch::x86::smp;
use crate::guest::GuestPtr;
use crate::{sched, time};
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use xen_abi::*;

/// Running, and halted.
const STATES: u32 = 2;
/// The deepest state there is.
const DEEPEST: u32 = STATES - 1;

/// `sched_smt_power_savings`: kept for who asks, since the scheduler fills cores one by one in any case.
static FILL_CORES: AtomicU32 = AtomicU32::new(0);

/// `struct xen_sysctl_get_pmstat` with its arm `getcx`.
#[derive(Clone, Copy, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)]
#[repr(C)]
pub(super) struct IdleStates {
    kind: u32,
    cpu: u32,
    nr: u32,
    last: u32,
    idle_time: u64,
    triggers: u64,
    residencies: u64,
    nr_pc: u32,
    nr_cc: u32,
    pc: u64,
    cc: u64,
}

/// `struct xen_sysctl_pm_op` with an arm of one word.
#[derive(Clone, Copy, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)]
#[repr(C)]
pub(super) struct PowerOp {
    cmd: u32,
    cpu: u32,
    value: u32,
    _pad: u32,
}

/// How long and how often a CPU was in each state (`get_pmstat`).
///
/// # Errors
/// `EINVAL` for a CPU that there is none of, `ENODEV` for frequencies, which Dom0 is not asked to manage.
pub(super) fn idle_states(op: &mut IdleStates) -> Result<(), Errno> {
    if op.cpu as usize >= smp::cpu_count() {
        return Err(Errno::EINVAL);
    }
    match op.kind {
        PMSTAT_get_max_cx => op.nr = STATES,
        PMSTAT_get_cxstat => {
            let cpu = op.cpu as usize;
            let idle = sched::idle_time(cpu);
            // Halted and woken as often, but for the turn that is under way.
            let turns = [sched::idle_turns(cpu); STATES as usize];
            let times = [time::now().saturating_sub(idle), idle];
            let room = op.nr.min(STATES) as usize;
            GuestPtr::<u64>::new(op.triggers).write_slice(&turns[..room])?;
            GuestPtr::<u64>::new(op.residencies).write_slice(&times[..room])?;
            (op.nr, op.last, op.idle_time) = (STATES, DEEPEST, idle);
            (op.nr_pc, op.nr_cc) = (0, 0);
        }
        // Nothing here counts from another moment than the boot's.
        PMSTAT_reset_cxstat => {}
        _ => return Err(Errno::ENODEV),
    }
    Ok(())
}

/// Settings (`pm_op`).
///
/// # Errors
/// `EINVAL`; `ENOSYS` for one that is not known; `ENODEV` for frequencies; `EACCES` for the turbo mode, as where no driver
/// governs it; `EOPNOTSUPP` for a limit that would forbid halting.
pub(super) fn operate(op: &mut PowerOp) -> Result<(), Errno> {
    if op.cpu as usize >= smp::cpu_count() && op.cmd != XEN_SYSCTL_pm_op_get_max_cstate {
        return Err(Errno::EINVAL);
    }
    match op.cmd {
        XEN_SYSCTL_pm_op_set_sched_opt_smt => {
            op.value = FILL_CORES.swap(u32::from(op.value != 0), Relaxed);
        }
        // CPU 0 stands for the state, 1 for the state within a state.
        XEN_SYSCTL_pm_op_get_max_cstate => {
            op.value = match op.cpu {
                0 => DEEPEST,
                1 => XEN_SYSCTL_CX_UNLIMITED,
                _ => return Err(Errno::EINVAL),
            }
        }
        XEN_SYSCTL_pm_op_set_max_cstate if op.cpu == 0 && op.value < DEEPEST => return Err(Errno::EOPNOTSUPP),
        XEN_SYSCTL_pm_op_set_max_cstate if op.cpu < 2 => {}
        XEN_SYSCTL_pm_op_enable_turbo | XEN_SYSCTL_pm_op_disable_turbo => return Err(Errno::EACCES),
        cmd if cmd & PM_PARA_CATEGORY_MASK == CPUFREQ_PARA => return Err(Errno::ENODEV),
        XEN_SYSCTL_pm_op_set_max_cstate => return Err(Errno::EINVAL),
        _ => return Err(Errno::ENOSYS),
    }
    Ok(())
}
