//! `sched_op`: a vcpu gives up its CPU, or its domain ends.

use super::Outcome;
use crate::domain::{self, Vcpu};
use crate::guest::GuestPtr;
use crate::time::timers::{self, Kind};
use crate::time::{self, WATCHDOGS};
use crate::{event, sched};
use core::sync::atomic::Ordering::Relaxed;
use xen_abi::*;

/// Most ports of one poll.
const MAX_POLL_PORTS: u32 = 128;

/// The hypercall: command, argument.
pub fn sched_op(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    let arg = args[1];
    match args[0] as u32 {
        SCHEDOP_block => block(cur),
        SCHEDOP_yield => sched::yield_now(cur),
        SCHEDOP_poll => poll(cur, &GuestPtr::<sched_poll>::new(arg).read()?)?,
        SCHEDOP_shutdown => {
            let ask = GuestPtr::<sched_shutdown>::new(arg).read()?;
            domain::shutdown(cur.domain(), ask.reason & 0xff);
        }
        SCHEDOP_shutdown_code => {
            let ask = GuestPtr::<sched_shutdown>::new(arg).read()?;
            if cur.domain().shutting_down.load(Relaxed) {
                return Err(Errno::EBUSY.into());
            }
            domain::name_end(cur.domain(), ask.reason & 0xff);
        }
        SCHEDOP_remote_shutdown => remote_shutdown(cur, &GuestPtr::<sched_remote_shutdown>::new(arg).read()?)?,
        SCHEDOP_watchdog => return Ok(watchdog(cur, &GuestPtr::<sched_watchdog>::new(arg).read()?)?),
        SCHEDOP_pin_override => pin(cur, GuestPtr::<sched_pin_override>::new(arg).read()?.pcpu)?,
        _ => return Err(Errno::ENOSYS.into()),
    }
    Ok(0)
}

/// The older hypercall: the reason of a shutdown is the argument itself.
pub fn sched_op_compat(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    match args[0] as u32 {
        SCHEDOP_yield => sched::yield_now(cur),
        SCHEDOP_block => block(cur),
        SCHEDOP_shutdown => domain::shutdown(cur.domain(), args[1] as u32 & 0xff),
        _ => return Err(Errno::ENOSYS.into()),
    }
    Ok(0)
}

/// Waits for an event, which is let in.
#[inline]
fn block(cur: &'static Vcpu) {
    domain::set_upcall_mask(cur, 0);
    sched::block(cur);
}

/// Waits until one of some ports is pending, masked or not, or an event is due, or the time is over.
fn poll(cur: &'static Vcpu, ask: &sched_poll) -> Result<(), Errno> {
    if ask.nr_ports > MAX_POLL_PORTS {
        return Err(Errno::EINVAL);
    }
    let ports = GuestPtr::<evtchn_port_t>::new(ask.ports);
    let only = if ask.nr_ports == 1 {
        match ports.read()? {
            // Never a port; and a vcpu that polls 0 would pass for one that does not poll, and not be counted out.
            0 => return Err(Errno::EINVAL),
            port => port,
        }
    } else {
        event::POLL_ANY
    };
    // First say that it waits, then look: what comes in between is seen by one of the two.
    sched::block_polling(cur, only);
    let found = any_pending(cur, ports, ask.nr_ports);
    if !matches!(found, Ok(false)) {
        sched::unblock(cur);
    } else if ask.timeout != 0 {
        timers::set(cur, Kind::Poll, ask.timeout);
    } else {
        timers::cancel(cur, Kind::Poll);
    }
    found.map(drop)
}

fn any_pending(cur: &Vcpu, ports: GuestPtr<evtchn_port_t>, count: u32) -> Result<bool, Errno> {
    if event::has_pending(cur) {
        return Ok(true);
    }
    for n in 0..count {
        if event::is_pending(cur.domain(), ports.at(n as u64).read()?)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn remote_shutdown(cur: &Vcpu, ask: &sched_remote_shutdown) -> Result<(), Errno> {
    if !cur.domain().privileged {
        return Err(Errno::EPERM);
    }
    let domain = domain::find(ask.domain_id)
        .filter(|d| !core::ptr::eq(&**d, cur.domain()))
        .ok_or(Errno::ESRCH)?;
    domain::shutdown(&domain, ask.reason & 0xff);
    Ok(())
}

/// Sets up, pokes or stops one of the domain's watchdogs; gives the number of a new one.
fn watchdog(cur: &Vcpu, ask: &sched_watchdog) -> Result<u64, Errno> {
    let domain = cur.domain();
    let first = domain.vcpu(0).ok_or(Errno::ESRCH)?;
    let mut used = domain.time.watchdogs_used.lock();
    let end = time::now().saturating_add(ask.timeout as u64 * 1_000_000_000);
    if ask.id == 0 {
        if ask.timeout == 0 {
            return Err(Errno::EINVAL);
        }
        let free = (0..WATCHDOGS as u8)
            .find(|n| *used & 1 << n == 0)
            .ok_or(Errno::ENOSPC)?;
        *used |= 1 << free;
        timers::set(first, Kind::Watchdog(free), end);
        return Ok(free as u64 + 1);
    }
    let number = (ask.id - 1) as usize;
    if number >= WATCHDOGS || *used & 1 << number == 0 {
        return Err(Errno::EINVAL);
    }
    if ask.timeout == 0 {
        *used &= !(1 << number);
        timers::cancel(first, Kind::Watchdog(number as u8));
    } else {
        timers::set(first, Kind::Watchdog(number as u8), end);
    }
    Ok(0)
}

/// Pins the current vcpu to a CPU, or, for a negative number, takes that back.
fn pin(cur: &'static Vcpu, cpu: i32) -> Result<(), Errno> {
    if !cur.domain().privileged {
        return Err(Errno::EPERM);
    }
    match u32::try_from(cpu) {
        Ok(cpu) if cpu < 64 => sched::pin(cur, cpu as usize),
        Ok(_) => Err(Errno::EINVAL),
        Err(_) => sched::unpin(cur),
    }
}
