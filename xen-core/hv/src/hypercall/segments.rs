//! `set_gdt` and `update_descriptor`: the guest's descriptor tables. `SET_LDT` is a sub-operation of `mmuext_op`.

use super::Outcome;
use crate::arch::x86::gdt::FIRST_RESERVED_ENTRY;
use crate::domain::Vcpu;
use crate::guest::GuestPtr;
use crate::mm::descriptor;
use xen_abi::Errno;

/// `set_gdt(frames, entries)`: the frames, as many as the entries need, become the vcpu's GDT.
///
/// # Errors
/// `EINVAL` for too many entries or a frame that cannot hold descriptors, `EFAULT`.
pub fn set_gdt(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    let entries = args[1] as u32 as u64;
    if entries > FIRST_RESERVED_ENTRY {
        return Err(Errno::EINVAL.into());
    }
    let mut frames = [0u64; 14];
    let used = entries.div_ceil(512) as usize;
    GuestPtr::<u64>::new(args[0]).read_slice(&mut frames[..used])?;
    descriptor::set_gdt(cur, &frames, entries as u32)?;
    Ok(0)
}

/// `update_descriptor(maddr, descriptor)`: writes one descriptor of a table in use, or of any frame the guest could
/// write itself.
///
/// # Errors
/// `EINVAL` for a misaligned address, a frame that is not the guest's, or a descriptor it may not have.
pub fn update_descriptor(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    descriptor::update(cur, args[0], args[1])?;
    Ok(0)
}
