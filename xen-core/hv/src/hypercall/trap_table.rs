//! `set_trap_table`: where the guest kernel wants its exceptions.

use super::Outcome;
use crate::arch::x86::segment::is_canonical;
use crate::domain::Vcpu;
use crate::guest::{GuestPtr, access_ok};
use core::sync::atomic::Ordering::Relaxed;
use xen_abi::{Errno, trap_info};

/// Sets the gates listed at `args[0]`, up to one without address; a null list clears them all.
///
/// # Errors
/// `EINVAL` for an address that cannot be entered, `EFAULT`.
pub fn set_trap_table(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    let list = GuestPtr::<trap_info>::new(args[0]);
    if list.is_null() {
        for gate in &cur.cpu.traps {
            gate.address.store(0, Relaxed);
        }
        return Ok(0);
    }
    // A vector may be named more than once, but a list without end would hold the CPU.
    for i in 0..=256 {
        let t = list.at(i).read()?;
        if t.address == 0 {
            return Ok(0);
        }
        if !is_canonical(t.address) || !access_ok(t.address, 1) {
            return Err(Errno::EINVAL.into());
        }
        let gate = &cur.cpu.traps[t.vector as usize];
        gate.flags.store(t.flags as u32, Relaxed);
        gate.address.store(t.address, Relaxed);
    }
    Err(Errno::EINVAL.into())
}
