//! `grant_table_op`: lending pages. Version 1 of the table only.

use super::{Outcome, Stop, preempt_needed};
use crate::domain::{self, Domain, Vcpu};
use crate::grant::{self, MAX_FRAMES};
use crate::guest::{GuestPtr, Wire};
use crate::mm::flush;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::Ordering::SeqCst;
use xen_abi::*;

/// The domain that a request names, if the caller may set up its table: itself, or any for Dom0.
fn target(cur: &Vcpu, id: domid_t) -> Result<Arc<Domain>, i16> {
    let own = cur.domain().id;
    let id = if id == DOMID_SELF { own } else { id };
    if id != own && !cur.domain().privileged {
        return Err(GNTST_permission_denied);
    }
    domain::find(id).ok_or(GNTST_bad_domain)
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

fn setup_table(cur: &Vcpu, op: &mut gnttab_setup_table) -> Result<(), Errno> {
    let status = |r: Result<(), i16>| r.err().unwrap_or(GNTST_okay);
    if op.nr_frames as usize > MAX_FRAMES {
        op.status = GNTST_general_error;
        return Ok(());
    }
    let domain = match target(cur, op.dom) {
        Ok(domain) => domain,
        Err(denied) => {
            op.status = denied;
            return Ok(());
        }
    };
    let Ok(frames) = domain.grants.set_up(&domain, op.nr_frames as usize) else {
        op.status = GNTST_general_error;
        return Ok(());
    };
    let list = GuestPtr::<u64>::new(op.frame_list);
    let written = frames
        .iter()
        .enumerate()
        .try_for_each(|(i, mfn)| list.at(i as u64).write(&mfn.0));
    op.status = status(written.map_err(|_| GNTST_bad_virt_addr));
    Ok(())
}

fn query_size(cur: &Vcpu, op: &mut gnttab_query_size) -> Result<(), Errno> {
    match target(cur, op.dom) {
        Ok(domain) => {
            op.nr_frames = domain.grants.frame_count() as u32;
            op.max_nr_frames = MAX_FRAMES as u32;
            op.status = GNTST_okay;
        }
        Err(denied) => op.status = denied,
    }
    Ok(())
}

fn set_version(at: u64, count: u32) -> Outcome {
    if count != 1 {
        return Err(Errno::EINVAL.into());
    }
    let at = GuestPtr::<gnttab_set_version>::new(at);
    let asked = at.read()?.version;
    // The answer is the version in force, whatever was asked.
    at.write(&gnttab_set_version { version: 1 })?;
    match asked {
        1 => Ok(0),
        2 => Err(Errno::ENOSYS.into()),
        _ => Err(Errno::EINVAL.into()),
    }
}

fn get_version(cur: &Vcpu, op: &mut gnttab_get_version) -> Result<(), Errno> {
    target(cur, op.dom).map_err(|status| {
        if status == GNTST_bad_domain {
            Errno::ESRCH
        } else {
            Errno::EPERM
        }
    })?;
    op.version = 1;
    Ok(())
}

/// Serves a batch of requests one by one, each of which gets its status.
fn each<T: Wire>(args: &[u64; 6], mut serve: impl FnMut(&mut T)) -> Outcome {
    let (mut at, mut left) = (GuestPtr::<T>::new(args[1]), args[2] as u32);
    while left > 0 {
        let mut request = at.read()?;
        serve(&mut request);
        at.write(&request)?;
        (at, left) = (at.at(1), left - 1);
        if left % 32 == 0 && left > 0 && preempt_needed() {
            return Err(again(args, at.addr(), left));
        }
    }
    Ok(0)
}

/// The same hypercall for the requests that are left.
fn again(args: &[u64; 6], at: u64, left: u32) -> Stop {
    Stop::Again([args[0], at, left.into(), 0, 0, 0])
}

/// Serves a batch of unmappings. The grants' uses end after the flush, so that a granter never takes a page back that
/// is still mapped.
fn unmap_batch(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    const PORTION: u32 = 32;
    let (mut at, mut left) = (GuestPtr::<gnttab_unmap_grant_ref>::new(args[1]), args[2] as u32);
    while left > 0 {
        let portion = left.min(PORTION);
        let mut gone = Vec::new();
        let result = (0..portion).try_for_each(|_| {
            let mut request = at.read()?;
            request.status = match grant::unmap(cur, &request) {
                Ok(unmapped) => {
                    gone.extend(unmapped);
                    GNTST_okay
                }
                Err(status) => status,
            };
            at.write(&request)?;
            at = at.at(1);
            Ok::<(), Errno>(())
        });
        if !gone.is_empty() {
            flush::flush_tlb_mask(cur.domain().dirty_cpus.load(SeqCst));
        }
        drop(gone);
        result?;
        left -= portion;
        if left > 0 && preempt_needed() {
            return Err(again(args, at.addr(), left));
        }
    }
    Ok(0)
}

/// The hypercall: command, requests, their number.
pub fn grant_table_op(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    let (cmd, at, count) = (args[0] as u32, args[1], args[2] as u32);
    if count > i32::MAX as u32 {
        return Err(Errno::EINVAL.into());
    }
    match cmd {
        GNTTABOP_setup_table => one(at, count, |op| setup_table(cur, op)),
        GNTTABOP_query_size => one(at, count, |op| query_size(cur, op)),
        GNTTABOP_set_version => set_version(at, count),
        GNTTABOP_get_version => one(at, count, |op| get_version(cur, op)),
        GNTTABOP_map_grant_ref => each(args, |op: &mut gnttab_map_grant_ref| {
            op.status = grant::map(cur, op).err().unwrap_or(GNTST_okay);
        }),
        GNTTABOP_unmap_grant_ref => unmap_batch(cur, args),
        GNTTABOP_copy => each(args, |op: &mut gnttab_copy| {
            op.status = grant::copy(cur, op).err().unwrap_or(GNTST_okay);
        }),
        _ => Err(Errno::ENOSYS.into()),
    }
}
