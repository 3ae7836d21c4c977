//! What CPUID a domain is shown, as its toolstack reads and sets it.

use super::Request;
use crate::guest::GuestPtr;
use crate::{cpuid, trap};
use xen_abi::*;
use xen_logic::cpuid::Leaf;
use xen_logic::cpuid::policy::{self, MAX_LEAVES, Restriction};
use xen_logic::msr;

/// Room that lists of MSRs are told to need. No MSR of a PV domain's can be chosen, so those given out stay empty.
pub(in crate::hypercall) const MAX_MSRS: u32 = 2;

/// Writes the leaves that `leaf_of` shows to the guest's array of `room`; answers how many there are.
///
/// # Errors
/// `ENOBUFS` without room, `EFAULT`.
pub(in crate::hypercall) fn write_leaves(to: u64, room: u32, leaf_of: impl Fn(u32, u32) -> Leaf) -> Result<u32, Errno> {
    let mut count = 0;
    policy::write_leaves(leaf_of, |leaf, subleaf, Leaf { a, b, c, d }| {
        if count == room {
            return Err(Errno::ENOBUFS);
        }
        let entry = xen_cpuid_leaf {
            leaf,
            subleaf,
            a,
            b,
            c,
            d,
        };
        GuestPtr::new(to).at(count.into()).write(&entry)?;
        count += 1;
        Ok(())
    })?;
    Ok(count)
}

pub(super) fn get(r: &mut Request) -> Result<(), Errno> {
    r.serve(|r, op: &mut xen_domctl_cpu_policy| {
        let domain = r.domain()?;
        op.nr_leaves = if op.leaves == 0 {
            MAX_LEAVES
        } else {
            write_leaves(op.leaves, op.nr_leaves, |leaf, sub| {
                cpuid::of_domain(&domain, leaf, sub)
            })?
        };
        op.nr_msrs = if op.msrs == 0 { MAX_MSRS } else { 0 };
        Ok(())
    })
}

/// Restricts the domain to what the list of leaves says; the registers named may not have more than they have here. On an error the guest is told which leaf or MSR it was.
pub(super) fn set(r: &mut Request) -> Result<(), Errno> {
    let mut op: xen_domctl_cpu_policy = r.ask.payload();
    let domain = r.other()?;
    (op.err_leaf, op.err_subleaf, op.err_msr) = (u32::MAX, u32::MAX, u32::MAX);
    let mut restriction = Restriction::NONE;
    if op.nr_leaves > MAX_LEAVES * 2 || op.nr_msrs > MAX_MSRS {
        return Err(Errno::E2BIG);
    }
    for n in 0..op.nr_leaves {
        let xen_cpuid_leaf {
            leaf,
            subleaf,
            a,
            b,
            c,
            d,
        } = GuestPtr::new(op.leaves).at(n.into()).read()?;
        if !restriction.read_leaf(leaf, subleaf, Leaf { a, b, c, d }) {
            (op.err_leaf, op.err_subleaf) = (leaf, subleaf);
            r.ask.set_payload(&op);
            GuestPtr::new(r.args[0]).write(&r.ask)?;
            return Err(Errno::ERANGE);
        }
    }
    for n in 0..op.nr_msrs {
        let entry: xen_msr_entry = GuestPtr::new(op.msrs).at(n.into()).read()?;
        if entry.flags != 0 || !msr::policy_allows(entry.idx, entry.val, trap::emulate::arch_capabilities()) {
            op.err_msr = entry.idx;
            r.ask.set_payload(&op);
            GuestPtr::new(r.args[0]).write(&r.ask)?;
            return Err(Errno::ERANGE);
        }
    }
    domain.cpuid.restrict(restriction);
    r.ask.set_payload(&op);
    Ok(())
}
