//! Where the hypervisor enters the guest kernel: `callback_op`, and its older forms `set_callbacks` and `nmi_op`.

use super::Outcome;
use crate::arch::x86::regs::vector;
use crate::domain::{self, Vcpu};
use crate::guest::GuestPtr;
use core::sync::atomic::Ordering::Relaxed;
use xen_abi::*;

/// Is it an address at all? The entry frames are built with iret, which faults on one that is not canonical.
fn check_canonical(address: u64) -> Result<u64, Errno> {
    let sign_extended = ((address << 16) as i64 >> 16) as u64;
    if address == sign_extended {
        Ok(address)
    } else {
        Err(Errno::EINVAL)
    }
}

/// Sets one callback; the types without a place here are those of 32-bit system calls, whose absence a kernel
/// answers by using `int 0x80`.
fn register(cur: &Vcpu, typ: u16, flags: u16, address: u64) -> Result<(), Errno> {
    let address = check_canonical(address)?;
    let mask_events = u32::from(flags & CALLBACKF_mask_events != 0);
    match typ {
        CALLBACKTYPE_event => cur.hot.event_callback.store(address, Relaxed),
        CALLBACKTYPE_failsafe => {
            cur.hot.failsafe_callback.store(address, Relaxed);
            cur.hot.failsafe_masks_events.store(mask_events, Relaxed);
        }
        CALLBACKTYPE_syscall => {
            cur.hot.syscall_callback.store(address, Relaxed);
            cur.hot.syscall_masks_events.store(mask_events, Relaxed);
            domain::update_fast_paths(cur);
        }
        CALLBACKTYPE_nmi => return register_nmi(cur, address),
        _ => return Err(Errno::ENOSYS),
    }
    Ok(())
}

/// An NMI is delivered like an exception, so its handler stands in the trap table.
fn register_nmi(cur: &Vcpu, address: u64) -> Result<(), Errno> {
    if cur.id != 0 {
        return Err(Errno::EINVAL);
    }
    cur.cpu.traps[usize::from(vector::NMI)].flags.store(0, Relaxed);
    cur.cpu.traps[usize::from(vector::NMI)].address.store(address, Relaxed);
    Ok(())
}

fn unregister(cur: &Vcpu, typ: u16) -> Result<(), Errno> {
    match typ {
        CALLBACKTYPE_nmi => {
            cur.cpu.traps[usize::from(vector::NMI)].address.store(0, Relaxed);
            Ok(())
        }
        // A kernel without these could not be entered at all.
        CALLBACKTYPE_event | CALLBACKTYPE_failsafe | CALLBACKTYPE_syscall => Err(Errno::EINVAL),
        _ => Err(Errno::ENOSYS),
    }
}

/// The hypercall: command, argument.
pub fn callback_op(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    match args[0] as u32 {
        CALLBACKOP_register => {
            let ask = GuestPtr::<callback_register>::new(args[1]).read()?;
            register(cur, ask.typ, ask.flags, ask.address)?;
        }
        CALLBACKOP_unregister => {
            let ask = GuestPtr::<callback_unregister>::new(args[1]).read()?;
            unregister(cur, ask.typ)?;
        }
        _ => return Err(Errno::ENOSYS.into()),
    }
    Ok(0)
}

/// The older hypercall: addresses for event, failsafe, syscall. One that is no address leaves its callback as it was,
/// and the guest is not told: so Xen has it.
pub fn set_callbacks(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    let types = [CALLBACKTYPE_event, CALLBACKTYPE_failsafe, CALLBACKTYPE_syscall];
    for (typ, &address) in types.into_iter().zip(args) {
        let _ = register(cur, typ, 0, address);
    }
    Ok(0)
}

/// The older hypercall: command, argument.
pub fn nmi_op(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    match args[0] as u32 {
        XENNMI_register_callback => {
            let ask = GuestPtr::<xennmi_callback>::new(args[1]).read()?;
            register_nmi(cur, check_canonical(ask.handler_address)?)?;
        }
        XENNMI_unregister_callback => unregister(cur, CALLBACKTYPE_nmi)?,
        _ => return Err(Errno::ENOSYS.into()),
    }
    Ok(0)
}
