//! Requests about a table as a whole: its frames, its size, its version.

use crate::domain::{self, Domain, Vcpu};
use crate::grant;
use crate::guest::{GuestPtr, Wire};
use crate::hypercall::Outcome;
use alloc::sync::Arc;
use xen_abi::*;

/// Serves one of these requests; each is the only one of its hypercall.
pub(super) fn serve(cur: &Vcpu, cmd: u32, at: u64, count: u32) -> Outcome {
    match cmd {
        GNTTABOP_setup_table => one(at, count, |op| setup_table(cur, op)),
        GNTTABOP_query_size => one(at, count, |op| query_size(cur, op)),
        GNTTABOP_get_status_frames => one(at, count, |op| status_frames(cur, op)),
        GNTTABOP_set_version => set_version(cur, at, count),
        GNTTABOP_get_version => one(at, count, |op| get_version(cur, op)),
        _ => Err(Errno::ENOSYS.into()),
    }
}

/// The domain that a request names, if the caller may ask about its table: itself, or any for Dom0.
fn target(cur: &Vcpu, id: domid_t) -> Result<Arc<Domain>, i16> {
    let own = cur.domain().id;
    let id = if id == DOMID_SELF { own } else { id };
    let domain = domain::find(id).ok_or(GNTST_bad_domain)?;
    if id != own && !cur.domain().privileged {
        return Err(GNTST_permission_denied);
    }
    Ok(domain)
}

/// Reads one request, lets `serve` answer in it, writes it back.
fn one<T: Wire>(at: u64, count: u32, serve: impl FnOnce(&mut T) -> Result<(), Errno>) -> Outcome {
    if count != 1 {
        return Err(Errno::EINVAL.into());
    }
    let at = GuestPtr::<T>::new(at);
    let mut request = at.read()?;
    serve(&mut request)?;
    at.write(&request)?;
    Ok(0)
}

/// Writes frame numbers to the caller's list.
fn tell(list: u64) -> impl FnMut(u64, u64) -> Result<(), Errno> {
    move |index, mfn| GuestPtr::<u64>::new(list).at(index).write(&mfn)
}

/// What an errno of a table is answered with.
fn status(result: Result<(), Errno>) -> i16 {
    match result {
        Ok(()) => GNTST_okay,
        Err(Errno::EFAULT) => GNTST_bad_virt_addr,
        Err(_) => GNTST_general_error,
    }
}

fn setup_table(cur: &Vcpu, op: &mut gnttab_setup_table) -> Result<(), Errno> {
    op.status = match target(cur, op.dom) {
        Ok(domain) => status(grant::set_up(&domain, op.nr_frames, tell(op.frame_list))),
        Err(denied) => denied,
    };
    Ok(())
}

fn status_frames(cur: &Vcpu, op: &mut gnttab_get_status_frames) -> Result<(), Errno> {
    op.status = match target(cur, op.dom) {
        Ok(domain) => status(grant::status_frames(&domain, op.nr_frames, tell(op.frame_list))),
        Err(denied) => denied,
    };
    Ok(())
}

fn query_size(cur: &Vcpu, op: &mut gnttab_query_size) -> Result<(), Errno> {
    op.status = match target(cur, op.dom) {
        Ok(domain) => {
            (op.nr_frames, op.max_nr_frames) = domain.grants.size();
            GNTST_okay
        }
        Err(denied) => denied,
    };
    Ok(())
}

/// The answer is the version in force, whatever was asked.
fn set_version(cur: &Vcpu, at: u64, count: u32) -> Outcome {
    if count != 1 {
        return Err(Errno::EINVAL.into());
    }
    let at = GuestPtr::<gnttab_set_version>::new(at);
    let asked = at.read()?.version;
    let result = grant::set_version(cur.domain(), asked);
    at.write(&gnttab_set_version {
        version: cur.domain().grants.version(),
    })?;
    result?;
    Ok(0)
}

fn get_version(cur: &Vcpu, op: &mut gnttab_get_version) -> Result<(), Errno> {
    let domain = target(cur, op.dom).map_err(|status| match status {
        GNTST_bad_domain => Errno::ESRCH,
        _ => Errno::EPERM,
    })?;
    op.version = domain.grants.version();
    Ok(())
}
