//! `acquire_resource`: frames of the hypervisor's that a toolstack maps for a domain: its grant table.

use super::super::{Outcome, Stop, preempt_needed};
use crate::domain::{self, Domain, Vcpu};
use crate::grant;
use crate::guest::GuestPtr;
use core::mem::offset_of;
use xen_abi as abi;
use xen_abi::Errno;

/// Frames that are looked up at once.
const BATCH: usize = 32;
/// Frames after which the call looks whether it should go on later.
const PORTION: u64 = 512;

/// Answers how many frames the resource has, without a list; with one, writes the frames asked for.
///
/// # Errors
/// `EPERM` for an unprivileged caller or its own domain, `ESRCH`; `EINVAL` for no such resource, or beyond its end;
/// `ENOMEM`, `EFAULT`.
pub(super) fn acquire_resource(cur: &Vcpu, start: u64, args: &[u64; 6]) -> Outcome {
    let argument = GuestPtr::<abi::xen_mem_acquire_resource>::new(args[1]);
    let request = argument.read()?;
    let end = request.frame.checked_add(request.nr_frames.into());
    if request.pad != 0 || end.is_none_or(|end| end > u32::MAX.into()) {
        return Err(Errno::EINVAL.into());
    }
    let domain = other_domain(cur, request.domid)?;
    if request.typ != abi::XENMEM_resource_grant_table {
        return Err(Errno::EINVAL.into());
    }
    if request.frame_list == 0 {
        return answer_size(&request, &domain, argument);
    }
    let list = GuestPtr::<u64>::new(request.frame_list);
    let count = u64::from(request.nr_frames);
    let mut done = start;
    while done < count {
        if done != start && (done - start).is_multiple_of(PORTION) && preempt_needed() {
            return Err(super::again(args, abi::XENMEM_acquire_resource, done));
        }
        let mut frames = [0u64; BATCH];
        let now = &mut frames[..(count - done).min(BATCH as u64) as usize];
        grant::resource_frames(&domain, request.id, request.frame + done, now)?;
        list.at(done).write_slice(now)?;
        done += now.len() as u64;
    }
    Ok(0)
}

/// The domain that the privileged caller names, which is another one, and lives.
fn other_domain(cur: &Vcpu, id: u16) -> Result<alloc::sync::Arc<Domain>, Errno> {
    let own = cur.domain();
    if !own.privileged || id == abi::DOMID_SELF || id == own.id {
        return Err(Errno::EPERM);
    }
    domain::find_alive(id)
}

fn answer_size(
    request: &abi::xen_mem_acquire_resource,
    domain: &Domain,
    argument: GuestPtr<abi::xen_mem_acquire_resource>,
) -> Outcome {
    if request.nr_frames != 0 || request.frame != 0 {
        return Err(Stop::Errno(Errno::EINVAL));
    }
    let frames = grant::resource_size(domain, request.id)?;
    let at = argument.addr() + offset_of!(abi::xen_mem_acquire_resource, nr_frames) as u64;
    GuestPtr::<u32>::new(at).write(&frames)?;
    Ok(0)
}
