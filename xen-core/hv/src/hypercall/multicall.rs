//! Several hypercalls in one (`multicall_entry`).

use super::{Outcome, Stop, call, negative, preempt_needed};
use crate::domain::Vcpu;
use crate::guest::GuestPtr;
use crate::trace;
use core::mem::offset_of;
use xen_abi::{Errno, multicall_entry};

/// Carries out `args[1]` entries at `args[0]` in order, each result written to its entry. A call inside that is
/// preempted leaves its new arguments in the entry, and the multicall continues there.
pub fn multicall(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    let (list, count) = (GuestPtr::<multicall_entry>::new(args[0]), args[1] as u32 as u64);
    for i in 0..count {
        if i & 15 == 15 && preempt_needed() {
            return Err(again(args, list, i, count));
        }
        let entry = list.at(i);
        let multicall_entry { op, args: inner, .. } = entry.read()?;
        trace::count(trace::Counter::Multicalls);
        trace::record(trace::Kind::Hypercall, op, inner[0]);
        let result = match one(cur, op, &inner) {
            Ok(value) => value,
            Err(Stop::Errno(errno)) => {
                crate::console::limited!(
                    log::Level::Debug,
                    "multicall entry {i} of {count}: {} returned -{}, arguments {inner:x?}",
                    xen_abi::hypercall_name(op),
                    errno.name()
                );
                negative(errno)
            }
            Err(Stop::Again(next)) => {
                // The ABI entry holds six arguments behind operation and result.
                GuestPtr::<[u64; 6]>::new(entry.addr() + offset_of!(multicall_entry, args) as u64).write(&next)?;
                return Err(again(args, list, i, count));
            }
            Err(crash) => return Err(crash),
        };
        GuestPtr::<u64>::new(entry.addr().wrapping_add(offset_of!(multicall_entry, result) as u64)).write(&result)?;
    }
    Ok(0)
}

/// One entry; what needs the caller's registers is refused.
fn one(cur: &'static Vcpu, op: u64, args: &[u64; 6]) -> Outcome {
    match op {
        xen_abi::__HYPERVISOR_iret | xen_abi::__HYPERVISOR_multicall => Err(Errno::EINVAL.into()),
        _ => call(cur, op, args),
    }
}

fn again(args: &[u64; 6], list: GuestPtr<multicall_entry>, done: u64, count: u64) -> Stop {
    Stop::Again([list.at(done).addr(), count - done, args[2], args[3], args[4], args[5]])
}
