//! `vcpu_op`: bringing vcpus up and down, their timers, and what they share with the hypervisor.

use super::{Outcome, Stop};
use crate::arch::x86::apic;
use crate::domain::{self, Vcpu};
use crate::guest::GuestPtr;
use crate::time::timers::{self, Kind};
use crate::time::{self, pvclock};
use crate::{event, sched};
use core::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};
use xen_abi::*;
use zerocopy::FromZeros;

/// Shortest and longest period of a periodic timer.
const PERIODS: core::ops::RangeInclusive<u64> = 1_000_000..=1 << 60;

/// RFLAGS.IF, by which a first context says whether events are let in.
const INTERRUPTS_ON: u64 = 1 << 9;

/// The hypercall: command, vcpu, argument.
pub fn vcpu_op(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    let arg = args[2];
    let id = u32::try_from(args[1]).map_err(|_| Errno::ENOENT)?;
    let v = if id == cur.id {
        cur
    } else {
        cur.domain().vcpu(id).ok_or(Errno::ENOENT)?
    };
    match args[0] as u32 {
        VCPUOP_set_singleshot_timer => set_singleshot(cur, v, GuestPtr::new(arg))?,
        VCPUOP_stop_singleshot_timer => {
            check_self(cur, v)?;
            timers::cancel(v, Kind::Singleshot);
        }
        VCPUOP_set_periodic_timer => {
            let ask = GuestPtr::<vcpu_set_periodic_timer>::new(arg).read()?;
            if !PERIODS.contains(&ask.period_ns) {
                return Err(Errno::EINVAL.into());
            }
            v.time.period.store(ask.period_ns, SeqCst);
            timers::set(v, Kind::Periodic, time::now().saturating_add(ask.period_ns));
        }
        VCPUOP_stop_periodic_timer => {
            v.time.period.store(0, SeqCst);
            timers::cancel(v, Kind::Periodic);
        }
        VCPUOP_is_up => return Ok(!sched::is_down(v) as u64),
        VCPUOP_initialise => initialise(v, arg, args)?,
        VCPUOP_up => {
            if !v.initialised.load(Acquire) {
                return Err(Errno::EINVAL.into());
            }
            sched::up(v);
        }
        VCPUOP_down => down(v),
        command => return shared(cur, v, command, arg),
    }
    Ok(0)
}

/// The commands about memory that a vcpu shares with the hypervisor, and the rest.
fn shared(cur: &'static Vcpu, v: &'static Vcpu, command: u32, arg: u64) -> Outcome {
    match command {
        VCPUOP_get_runstate_info => GuestPtr::new(arg).write(&sched::run_state(v))?,
        VCPUOP_register_runstate_memory_area => {
            let ask = GuestPtr::<vcpu_register_runstate_memory_area>::new(arg).read()?;
            sched::register_runstate_area(cur, v, ask.addr)?;
        }
        VCPUOP_register_vcpu_time_memory_area => {
            let ask = GuestPtr::<vcpu_register_time_memory_area>::new(arg).read()?;
            pvclock::register_area(cur, v, ask.addr)?;
        }
        VCPUOP_register_vcpu_info => {
            let ask = GuestPtr::<vcpu_register_vcpu_info>::new(arg).read()?;
            event::register_vcpu_info(v, ask.mfn, ask.offset)?;
        }
        // It has no argument.
        VCPUOP_send_nmi if arg != 0 => return Err(Errno::EINVAL.into()),
        VCPUOP_send_nmi => sched::send_nmi(v),
        VCPUOP_get_physid => GuestPtr::new(arg).write(&physical_id(v)?)?,
        _ => return Err(Errno::ENOSYS.into()),
    }
    Ok(0)
}

/// A vcpu sets its own one-time timer only.
fn check_self(cur: &Vcpu, v: &Vcpu) -> Result<(), Errno> {
    if core::ptr::eq(cur, v) {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

/// Sets the one-time timer; a time that is past is due at once, unless the guest would rather be told.
#[inline]
fn set_singleshot(cur: &Vcpu, v: &'static Vcpu, at: GuestPtr<vcpu_set_singleshot_timer>) -> Result<(), Errno> {
    check_self(cur, v)?;
    let ask = at.read()?;
    let now = time::now();
    if ask.timeout_abs_ns > now {
        timers::set(v, Kind::Singleshot, ask.timeout_abs_ns);
    } else if ask.flags & VCPU_SSHOTTMR_future != 0 && ask.timeout_abs_ns < now {
        return Err(Errno::ETIME);
    } else {
        // Without the detour by an interrupt.
        timers::cancel(v, Kind::Singleshot);
        event::send_virq(v, VIRQ_TIMER);
    }
    Ok(())
}

/// Gives a vcpu that is down its first context. Its frame is large: not to be inlined into the common path.
#[inline(never)]
fn initialise(v: &'static Vcpu, arg: u64, args: &[u64; 6]) -> Result<(), Stop> {
    let mut context = vcpu_guest_context::new_zeroed();
    GuestPtr::new(arg).read_slice(core::slice::from_mut(&mut context))?;
    let _tables = domain::hold_tables(v.domain(), &context, args)?;
    // One at a time: the vcpu's registers have no other guard.
    if v.sched.being_set_up.swap(true, SeqCst) {
        return Err(Errno::EBUSY.into());
    }
    let done = set_up(v, &context);
    v.sched.being_set_up.store(false, SeqCst);
    Ok(done?)
}

fn set_up(v: &'static Vcpu, context: &vcpu_guest_context) -> Result<(), Errno> {
    if v.initialised.load(Acquire) {
        return Err(Errno::EEXIST);
    }
    // A vcpu past the shared page's slots needs a `vcpu_info` of its own first.
    if core::ptr::eq(v.hot.info.load(Relaxed), domain::dummy_info()) {
        return Err(Errno::EINVAL);
    }
    domain::vcpu_initialise(v, context)?;
    domain::set_upcall_mask(v, u8::from(context.user_regs.rflags & INTERRUPTS_ON == 0));
    Ok(())
}

/// Takes a vcpu down; a domain without a vcpu that is up has ended.
fn down(v: &'static Vcpu) {
    let domain = v.domain();
    if domain
        .vcpus()
        .all(|other| core::ptr::eq(other, v) || sched::is_down(other))
    {
        domain::shutdown(domain, SHUTDOWN_poweroff);
    } else {
        sched::down(v);
    }
}

/// The APIC number of the CPU that a vcpu is pinned to.
fn physical_id(v: &Vcpu) -> Result<vcpu_get_physid, Errno> {
    let affinity = sched::affinity(v);
    if !v.domain().privileged || affinity.count_ones() != 1 {
        return Err(Errno::EINVAL);
    }
    let id = apic::id_of(affinity.trailing_zeros() as usize) as u64;
    Ok(vcpu_get_physid { phys_id: id << 32 | id })
}
