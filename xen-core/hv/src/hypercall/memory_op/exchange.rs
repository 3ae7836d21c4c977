//! `exchange`: frames given up against as many of another shape, for memory that devices can use.

use super::super::mmu_update::living_domain;
use super::super::{Outcome, Stop, preempt_needed};
use super::reservation::{address_bits, max_order};
use crate::domain::{Domain, Vcpu};
use crate::guest::GuestPtr;
use crate::mm::{Mfn, alloc, logdirty, m2p, pages};
use alloc_crate::vec::Vec;
use core::mem::offset_of;
use xen_abi as abi;
use xen_abi::Errno;

extern crate alloc as alloc_crate;

/// The smallest piece of an exchange: extents of the smaller order that make one of the larger.
struct Chunk {
    in_extents: u64,
    in_order: u32,
    out_extents: u64,
    out_order: u32,
    out_bits: u32,
}

/// Exchanges from `nr_exchanged` on, which counts input extents and is written back.
///
/// # Errors
/// `EINVAL` for shapes that do not fit, frames that are not the domain's, or are in use; `EPERM`, `ENOMEM`, `EFAULT`.
pub(super) fn exchange(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    let argument = GuestPtr::<abi::xen_memory_exchange>::new(args[1]);
    let request = argument.read()?;
    let chunk = shape(cur, &request)?;
    let domain = living_domain(cur, request.r#in.domid)?;
    let report = GuestPtr::<u64>::new(args[1] + offset_of!(abi::xen_memory_exchange, nr_exchanged) as u64);
    let (first, last) = (
        request.nr_exchanged / chunk.in_extents,
        request.r#in.nr_extents / chunk.in_extents,
    );
    for at in first..last {
        if at != first && preempt_needed() {
            report.write(&(at * chunk.in_extents))?;
            return Err(Stop::Again(*args));
        }
        if let Err(errno) = one(&chunk, at, &request, &domain) {
            report.write(&(at * chunk.in_extents))?;
            return Err(errno.into());
        }
    }
    report.write(&(last * chunk.in_extents))?;
    Ok(0)
}

/// Checks that the two sides are of the same size, and in whole chunks.
fn shape(cur: &Vcpu, request: &abi::xen_memory_exchange) -> Result<Chunk, Errno> {
    let (give, take) = (&request.r#in, &request.out);
    if give.extent_order > max_order(cur) || take.extent_order > max_order(cur) {
        return Err(Errno::EPERM);
    }
    let in_range = |n: u64, order: u32| n <= u64::MAX >> (order + 12);
    let same_size = in_range(give.nr_extents, give.extent_order)
        && in_range(take.nr_extents, take.extent_order)
        && give.nr_extents << give.extent_order == take.nr_extents << take.extent_order;
    if give.domid != take.domid || !same_size || request.nr_exchanged > give.nr_extents {
        return Err(Errno::EINVAL);
    }
    let order = give.extent_order.max(take.extent_order);
    let chunk = Chunk {
        in_extents: 1 << (order - give.extent_order),
        in_order: give.extent_order,
        out_extents: 1 << (order - take.extent_order),
        out_order: take.extent_order,
        out_bits: address_bits(take.mem_flags),
    };
    if !request.nr_exchanged.is_multiple_of(chunk.in_extents) || !give.nr_extents.is_multiple_of(chunk.in_extents) {
        return Err(Errno::EINVAL);
    }
    Ok(chunk)
}

/// Exchanges chunk `at`: all of it or nothing.
fn one(chunk: &Chunk, at: u64, request: &abi::xen_memory_exchange, domain: &Domain) -> Result<(), Errno> {
    let give = GuestPtr::<u64>::new(request.r#in.extent_start).at(at * chunk.in_extents);
    let take = GuestPtr::<u64>::new(request.out.extent_start).at(at * chunk.out_extents);
    let mut stolen = Stolen {
        frames: Vec::new(),
        domain,
    };
    // Room for the lists first: they may be long, and there may be no memory for them.
    let room = (chunk.in_extents << chunk.in_order) as usize;
    stolen.frames.try_reserve_exact(room).map_err(|_| Errno::ENOMEM)?;
    for n in 0..chunk.in_extents {
        let first = give.at(n).read()?;
        for frame in 0..1 << chunk.in_order {
            stolen.steal(Mfn(first.wrapping_add(frame)))?;
        }
    }
    let mut fresh = Fresh {
        blocks: Vec::new(),
        order: chunk.out_order,
    };
    let room = chunk.out_extents as usize;
    fresh.blocks.try_reserve_exact(room).map_err(|_| Errno::ENOMEM)?;
    for _ in 0..chunk.out_extents {
        let block = pages::alloc_in_exchange(domain, chunk.out_order, chunk.out_bits);
        fresh.blocks.push(block.ok_or(Errno::ENOMEM)?);
    }
    // From here on it is done, whatever the guest's list does.
    stolen.free();
    let mut result = Ok(());
    for (n, mfn) in core::mem::take(&mut fresh.blocks).into_iter().enumerate() {
        let given = pages::assign_block(mfn, chunk.out_order, domain);
        result = result
            .and(given)
            .and_then(|()| place(domain, take.at(n as u64), mfn, chunk.out_order));
    }
    result
}

/// Gives a new extent the guest frame numbers from the guest's list, and writes its machine frame number there.
fn place(domain: &Domain, slot: GuestPtr<u64>, mfn: Mfn, order: u32) -> Result<(), Errno> {
    let gpfn = slot.read()?;
    for n in 0..1 << order {
        m2p::set(Mfn(mfn.0 + n), gpfn.wrapping_add(n));
        logdirty::page_numbered(domain, gpfn.wrapping_add(n));
    }
    slot.write(&mfn.0)
}

/// Frames taken from the domain; they go back to it unless they are freed.
struct Stolen<'a> {
    frames: Vec<Mfn>,
    domain: &'a Domain,
}

impl Stolen<'_> {
    fn steal(&mut self, mfn: Mfn) -> Result<(), Errno> {
        pages::steal(mfn, self.domain)?;
        self.frames.push(mfn);
        Ok(())
    }

    fn free(&mut self) {
        self.frames
            .drain(..)
            .for_each(|mfn| pages::free_stolen(mfn, self.domain));
    }
}

impl Drop for Stolen<'_> {
    fn drop(&mut self) {
        self.frames.drain(..).for_each(pages::return_stolen);
    }
}

/// New blocks that go back to the allocator unless they are handed over.
struct Fresh {
    blocks: Vec<Mfn>,
    order: u32,
}

impl Drop for Fresh {
    fn drop(&mut self) {
        self.blocks.drain(..).for_each(|mfn| alloc::free_pages(mfn, self.order));
    }
}
