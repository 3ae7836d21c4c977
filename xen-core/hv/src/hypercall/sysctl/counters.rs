//! The trace counters, as performance counters.

use crate::arch::x86::smp;
use crate::guest::GuestPtr;
use crate::hypercall::xen_version;
use crate::trace::{self, Counter};
use xen_abi::*;

/// The trace counters, a value for each CPU; the last two rows are the exits.
pub(super) fn operate(op: &mut xen_sysctl_perfc_op) -> Result<(), Errno> {
    let cpus = smp::cpu_count();
    match op.cmd {
        XEN_SYSCTL_PERFCOP_reset => (0..cpus).for_each(trace::reset),
        XEN_SYSCTL_PERFCOP_query => {}
        _ => return Err(Errno::EINVAL),
    }
    op.nr_counters = Counter::COUNT as u32 + 2;
    op.nr_vals = op.nr_counters * cpus as u32;
    if op.desc == 0 {
        return Ok(());
    }
    let names = Counter::ALL
        .iter()
        .map(|c| c.name())
        .chain(["exits by sysret", "exits by iret"]);
    for (i, name) in names.enumerate() {
        // `struct xen_sysctl_perfc_desc`: name, number of values.
        let mut desc = [0u8; 84];
        desc[..80].copy_from_slice(&xen_version::field::<80>(name));
        desc[80..].copy_from_slice(&(cpus as u32).to_le_bytes());
        GuestPtr::<[u8; 84]>::new(op.desc).at(i as u64).write(&desc)?;
        for cpu in 0..cpus {
            let value = trace::value_at(cpu, i);
            GuestPtr::<u32>::new(op.val)
                .at((i * cpus + cpu) as u64)
                .write(&(value as u32))?;
        }
    }
    Ok(())
}
