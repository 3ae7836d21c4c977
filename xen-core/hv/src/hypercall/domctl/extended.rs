//! What a vcpu has beyond its context, for tools that save it: extended processor state, registers by number, and the
//! entries of 32-bit system calls.

use super::Request;
use super::context::{vcpu, with_stopped};
use crate::arch::x86::{fpu, guest_tsc, regs::selector, segment};
use crate::domain::Vcpu;
use crate::guest::{GuestPtr, access_ok};
use crate::hypercall::Stop;
use alloc::vec::Vec;
use xen_abi::*;
use xen_logic::msr::{self, SAVED, SAVED_TSC_AUX};
use xen_logic::xstate::{self, Saved};
use zerocopy::FromZeros;

/// The entries of 32-bit system calls; machine-check banks, of which a vcpu here has none, are zero.
pub(super) fn get_ext(r: &mut Request) -> Result<(), Errno> {
    let ask: xen_domctl_ext_vcpucontext = r.ask.payload();
    let domain = r.domain()?;
    let v = vcpu(&domain, ask.vcpu)?;
    let mut found = xen_domctl_ext_vcpucontext::new_zeroed();
    found.vcpu = ask.vcpu;
    found.size = size_of::<xen_domctl_ext_vcpucontext>() as u32;
    let (address, masks) = v.cpu.syscall32.get();
    found.syscall32_callback_eip = address;
    found.syscall32_disables_events = masks.into();
    let (address, masks) = v.cpu.sysenter.get();
    found.sysenter_callback_eip = address;
    found.sysenter_disables_events = masks.into();
    // Of a 64-bit kernel there is only one.
    found.syscall32_callback_cs = selector::GUEST_CS64;
    found.sysenter_callback_cs = selector::GUEST_CS64;
    r.ask.set_payload(&found);
    Ok(())
}

/// Takes what [`get_ext`] gives here or on Xen; of machine checks only that there are none pending.
pub(super) fn set_ext(r: &mut Request) -> Result<(), Errno> {
    let ask: xen_domctl_ext_vcpucontext = r.ask.payload();
    let domain = r.other()?;
    let v = vcpu(&domain, ask.vcpu)?;
    let (syscall32, sysenter) = (ask.syscall32_callback_eip, ask.sysenter_callback_eip);
    let fits = |address| segment::is_canonical(address) && access_ok(address, 1);
    if !fits(syscall32) || !fits(sysenter) {
        return Err(Errno::EINVAL);
    }
    with_stopped(v, || {
        v.cpu.syscall32.set(syscall32, ask.syscall32_disables_events != 0);
        v.cpu.sysenter.set(sysenter, ask.sysenter_disables_events != 0);
    });
    Ok(())
}

/// Copies a vcpu's extended state out; without room for it, says how much it takes.
pub(super) fn get_state(r: &mut Request) -> Result<(), Errno> {
    let mut ask: xen_domctl_vcpuextstate = r.ask.payload();
    let domain = r.other()?;
    let v = vcpu(&domain, ask.vcpu)?;
    let mut state = Vec::new();
    if fpu::xcr0_all() != 0 {
        let room = xstate::PREFIX + fpu::area_size() as usize;
        state.try_reserve_exact(room).map_err(|_| Errno::ENOMEM)?;
        with_stopped(v, || describe_state(v, &mut state));
    }
    let only_asks = ask.buffer == 0 || (ask.size == 0 && ask.xfeature_mask == 0);
    if only_asks {
        (ask.size, ask.xfeature_mask) = (state.len() as u64, fpu::xcr0_all());
    } else if (ask.size, ask.xfeature_mask) != (state.len() as u64, fpu::xcr0_all()) {
        return Err(Errno::EINVAL);
    } else {
        GuestPtr::<u8>::new(ask.buffer).write_slice(&state)?;
    }
    r.ask.set_payload(&ask);
    Ok(())
}

/// Writes down the state of a vcpu that is loaded nowhere: XCR0, the components it has used, its area as far as that.
fn describe_state(v: &Vcpu, to: &mut Vec<u8>) {
    let xcr0 = v.cpu.fpu.xcr0();
    // SAFETY: no CPU runs the vcpu or holds its state: the caller has stopped it.
    let area = unsafe { v.cpu.fpu.extended() };
    let used = xstate::used(xcr0, area);
    to.extend_from_slice(&xcr0.to_le_bytes());
    to.extend_from_slice(&used.to_le_bytes());
    to.extend_from_slice(&area[..fpu::size_of(used).min(area.len())]);
}

/// Gives a vcpu the extended state that [`get_state`] gave, here or on Xen.
///
/// # Errors
/// `EINVAL` for a state that the processors would refuse.
pub(super) fn set_state(r: &mut Request) -> Result<(), Errno> {
    let ask: xen_domctl_vcpuextstate = r.ask.payload();
    let domain = r.other()?;
    let v = vcpu(&domain, ask.vcpu)?;
    let all = fpu::xcr0_all();
    let most = xstate::PREFIX + fpu::size_of(all);
    let len = usize::try_from(ask.size).ok().filter(|len| *len <= most);
    let len = len.filter(|len| *len >= xstate::PREFIX).ok_or(Errno::EINVAL)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    bytes.resize(len, 0u8);
    GuestPtr::<u8>::new(ask.buffer).read_slice(&mut bytes)?;
    match xstate::read(&bytes, all, fpu::size_of).ok_or(Errno::EINVAL)? {
        Saved::Nothing => {}
        Saved::State { xcr0, area } => with_stopped(v, || {
            // SAFETY: no CPU runs the vcpu or holds its state.
            unsafe { v.cpu.fpu.set_extended(xcr0, area) };
        }),
    }
    Ok(())
}

/// Copies the vcpu's registers out that are not zero.
pub(super) fn get_msrs(r: &mut Request) -> Result<(), Errno> {
    let mut ask: xen_domctl_vcpu_msrs = r.ask.payload();
    let domain = r.other()?;
    let v = vcpu(&domain, ask.vcpu)?;
    if ask.msrs == 0 {
        ask.msr_count = SAVED.len() as u32;
        r.ask.set_payload(&ask);
        return Ok(());
    }
    let value = with_stopped(v, || v.cpu.tsc_aux());
    let room = ask.msr_count;
    ask.msr_count = u32::from(value != 0);
    r.ask.set_payload(&ask);
    if ask.msr_count > room {
        GuestPtr::new(r.args[0]).write(&r.ask)?;
        return Err(Errno::ENOBUFS);
    }
    if value != 0 {
        let entry = xen_domctl_vcpu_msr {
            index: SAVED_TSC_AUX,
            reserved: 0,
            value,
        };
        GuestPtr::new(ask.msrs).write(&entry)?;
    }
    Ok(())
}

/// Sets the vcpu's registers; on an error the caller is told which entry it was.
pub(super) fn set_msrs(r: &mut Request) -> Result<(), Stop> {
    let mut ask: xen_domctl_vcpu_msrs = r.ask.payload();
    let domain = r.other()?;
    let v = vcpu(&domain, ask.vcpu)?;
    if ask.msr_count as usize > SAVED.len() * 2 {
        return Err(Errno::E2BIG.into());
    }
    for n in 0..ask.msr_count {
        let entry: xen_domctl_vcpu_msr = GuestPtr::new(ask.msrs).at(n.into()).read()?;
        if entry.reserved != 0 || !msr::may_restore(entry.index, entry.value, guest_tsc::has_tsc_aux()) {
            ask.msr_count = n;
            r.ask.set_payload(&ask);
            GuestPtr::new(r.args[0]).write(&r.ask)?;
            return Err(Errno::EINVAL.into());
        }
        if entry.index == SAVED_TSC_AUX {
            with_stopped(v, || v.cpu.set_tsc_aux(entry.value as u32));
        }
    }
    Ok(())
}
