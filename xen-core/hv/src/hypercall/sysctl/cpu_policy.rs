//! What CPUID shows of the machine and would show to domains.

use crate::cpuid;
use crate::guest::GuestPtr;
use crate::hypercall::domctl::{MAX_MSRS, write_leaves};
use xen_abi::*;
use xen_logic::cpuid::Leaf;
use xen_logic::cpuid::policy::{self, FEATURE_WORDS, MAX_LEAVES};

/// A view of CPUID.
type View = fn(u32, u32) -> Leaf;

/// What a domain without the machine's drivers is shown at most, which is what it is shown by default.
fn guest(leaf: u32, subleaf: u32) -> Leaf {
    cpuid::of_guests(false, leaf, subleaf)
}

/// Words of features, as many as the caller has room for.
pub(super) fn feature_set(op: &mut xen_sysctl_cpu_featureset) -> Result<(), Errno> {
    let view: View = match op.index {
        XEN_SYSCTL_cpu_featureset_raw | XEN_SYSCTL_cpu_featureset_host => cpuid::raw,
        XEN_SYSCTL_cpu_featureset_pv | XEN_SYSCTL_cpu_featureset_pv_max => guest,
        XEN_SYSCTL_cpu_featureset_hvm | XEN_SYSCTL_cpu_featureset_hvm_max => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::EINVAL),
    };
    if op.features == 0 {
        op.nr_features = FEATURE_WORDS as u32;
        return Ok(());
    }
    let words = policy::feature_words(view);
    let room = op.nr_features as usize;
    let given = room.min(FEATURE_WORDS);
    GuestPtr::new(op.features).write_slice(&words[..given])?;
    if room < FEATURE_WORDS {
        return Err(Errno::ENOBUFS);
    }
    op.nr_features = given as u32;
    Ok(())
}

/// Leaves, all of them.
pub(super) fn policy(op: &mut xen_sysctl_cpu_policy) -> Result<(), Errno> {
    let view: View = match op.index {
        XEN_SYSCTL_cpu_policy_raw | XEN_SYSCTL_cpu_policy_host => cpuid::raw,
        XEN_SYSCTL_cpu_policy_pv_max | XEN_SYSCTL_cpu_policy_pv_default => guest,
        XEN_SYSCTL_cpu_policy_hvm_max | XEN_SYSCTL_cpu_policy_hvm_default => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::EINVAL),
    };
    op.nr_leaves = if op.leaves == 0 {
        MAX_LEAVES
    } else {
        write_leaves(op.leaves, op.nr_leaves, view)?
    };
    op.nr_msrs = if op.msrs == 0 { MAX_MSRS } else { 0 };
    Ok(())
}
