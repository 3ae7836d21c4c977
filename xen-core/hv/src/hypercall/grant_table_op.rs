//! `grant_table_op`: lending pages. Requests come in batches, and each gets a status of its own.

mod table;

use super::{Outcome, Stop, preempt_needed};
use crate::domain::Vcpu;
use crate::grant::{self, Copier, Granters, Unmapped};
use crate::guest::{GuestPtr, Wire};
use crate::mm::flush;
use core::sync::atomic::Ordering::SeqCst;
use xen_abi::*;

/// Requests that are served before it is seen whether to stop.
const PORTION: u32 = 32;

fn status(result: Result<(), i16>) -> i16 {
    result.err().unwrap_or(GNTST_okay)
}

/// Serves a batch of requests one by one, each of which gets its status.
#[inline]
fn each<T: Wire>(args: &[u64; 6], mut serve: impl FnMut(&mut T) -> Result<(), Errno>) -> Outcome {
    let (mut at, mut left) = (GuestPtr::<T>::new(args[1]), args[2] as u32);
    while left > 0 {
        let mut request = at.read()?;
        serve(&mut request)?;
        at.write(&request)?;
        (at, left) = (at.at(1), left - 1);
        if left.is_multiple_of(PORTION) && left > 0 && preempt_needed() {
            return Err(again(args, at.addr(), left));
        }
    }
    Ok(0)
}

/// The same hypercall for the requests that are left.
fn again(args: &[u64; 6], at: u64, left: u32) -> Stop {
    Stop::Again([args[0], at, left.into(), 0, 0, 0])
}

/// Serves a batch of requests that end mappings, by portions.
fn unmap_batch<T: Wire>(
    cur: &'static Vcpu,
    args: &[u64; 6],
    mut serve: impl FnMut(&mut T) -> Result<Option<Unmapped>, i16>,
    set_status: fn(&mut T, i16),
) -> Outcome {
    let (mut at, mut left) = (GuestPtr::<T>::new(args[1]), args[2] as u32);
    while left > 0 {
        // Room for what is unmapped costs a few steps each: many are needed where there are many requests.
        if left <= 4 {
            unmap_portion::<T, 4>(cur, &mut at, &mut left, &mut serve, set_status)?;
        } else {
            unmap_portion::<T, { PORTION as usize }>(cur, &mut at, &mut left, &mut serve, set_status)?;
        }
        if left > 0 && preempt_needed() {
            return Err(again(args, at.addr(), left));
        }
    }
    Ok(0)
}

/// Serves at most `N` requests that end mappings. The grants' uses end after the flush, so that a granter never takes
/// a page back that is still mapped.
fn unmap_portion<T: Wire, const N: usize>(
    cur: &'static Vcpu,
    at: &mut GuestPtr<T>,
    left: &mut u32,
    serve: &mut impl FnMut(&mut T) -> Result<Option<Unmapped>, i16>,
    set_status: fn(&mut T, i16),
) -> Result<(), Errno> {
    let mut gone = [const { None }; N];
    let mut any = false;
    let result = gone.iter_mut().take(*left as usize).try_for_each(|gone| {
        let mut request = at.read()?;
        let status = match serve(&mut request) {
            Ok(unmapped) => {
                any |= unmapped.is_some();
                *gone = unmapped;
                GNTST_okay
            }
            Err(status) => status,
        };
        set_status(&mut request, status);
        at.write(&request)?;
        (*at, *left) = (at.at(1), *left - 1);
        Ok(())
    });
    if any {
        flush::flush_tlb_mask(cur.domain().dirty_cpus.load(SeqCst));
    }
    drop(gone);
    result
}

/// The hypercall: command, requests, their number.
pub fn grant_table_op(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    let (cmd, at, count) = (args[0] as u32, args[1], args[2] as u32);
    if count > i32::MAX as u32 {
        return Err(Errno::EINVAL.into());
    }
    match cmd {
        GNTTABOP_map_grant_ref => {
            let mut granters = Granters::new();
            each(args, |op: &mut gnttab_map_grant_ref| {
                op.status = status(grant::map(cur, &mut granters, op));
                Ok(())
            })
        }
        GNTTABOP_unmap_grant_ref => unmap_batch(
            cur,
            args,
            |op: &mut gnttab_unmap_grant_ref| grant::unmap(cur, op),
            |op, status| op.status = status,
        ),
        GNTTABOP_copy => {
            let mut copier = Copier::new();
            each(args, |op: &mut gnttab_copy| {
                op.status = status(copier.copy(cur, op));
                Ok(())
            })
        }
        GNTTABOP_unmap_and_replace => unmap_batch(
            cur,
            args,
            |op: &mut gnttab_unmap_and_replace| grant::unmap_and_replace(cur, op),
            |op, status| op.status = status,
        ),
        GNTTABOP_transfer => {
            let mut takers = Granters::new();
            each(args, |op: &mut gnttab_transfer| {
                op.status = status(grant::transfer(cur, &mut takers, op));
                Ok(())
            })
        }
        GNTTABOP_swap_grant_ref => each(args, |op: &mut gnttab_swap_grant_ref| {
            op.status = status(grant::swap(cur.domain(), op));
            Ok(())
        }),
        GNTTABOP_cache_flush => each(args, |op: &mut gnttab_cache_flush| grant::cache_flush(cur, op)),
        _ => table::serve(cur, cmd, at, count),
    }
}
