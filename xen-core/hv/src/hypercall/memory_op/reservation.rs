//! More or fewer frames for a domain: `increase_reservation`, `populate_physmap`, `decrease_reservation`.

use super::super::mmu_update::{DomainRef, living_domain};
use super::super::{Outcome, Stop, preempt_needed};
use super::again;
use crate::domain::{Domain, Vcpu};
use crate::guest::GuestPtr;
use crate::mm::frame::{self, Type};
use crate::mm::typing::{self, Budget, Fail};
use crate::mm::{Mfn, m2p, pages};
use xen_abi as abi;
use xen_abi::Errno;
use xen_logic::frame::cells;

/// Largest extent that a caller may ask for: the privileged domain 16 MiB, as on Xen, others 2 MiB.
pub(super) fn max_order(cur: &Vcpu) -> u32 {
    if cur.domain().privileged { 12 } else { 9 }
}

/// The most extents that fit beside the command when the call is continued.
const MAX_EXTENTS: u64 = 1 << (32 - super::EXTENT_SHIFT);

/// Address bits that `mem_flags` asks for; 0 for no limit.
pub(super) fn address_bits(flags: u32) -> u32 {
    flags & abi::XENMEMF_address_bits_mask
}

/// A list of extents in progress.
struct List {
    domain: DomainRef,
    extents: GuestPtr<u64>,
    order: u32,
    bits: u32,
}

/// What became of an extent.
enum Step {
    Done,
    /// The call ends here, with what has been done.
    End,
    Again,
}

/// Changes a reservation from extent `start` on; answers how many extents are done in all.
///
/// # Errors
/// `EFAULT` for the argument, `EPERM`, `ESRCH`, `EINVAL`.
pub(super) fn change(cur: &'static Vcpu, command: u32, start: u64, args: &[u64; 6]) -> Outcome {
    let request = GuestPtr::<abi::xen_memory_reservation>::new(args[1]).read()?;
    let count = request.nr_extents;
    if count >= MAX_EXTENTS {
        return Ok(start);
    }
    if start >= count {
        return if start == count {
            Ok(start)
        } else {
            Err(Errno::EINVAL.into())
        };
    }
    let order = request.extent_order;
    if order > max_order(cur) {
        return Ok(start);
    }
    let domain = living_domain(cur, request.domid)?;
    let list = List {
        domain,
        extents: GuestPtr::new(request.extent_start),
        order,
        bits: address_bits(request.mem_flags),
    };
    // An extent of many frames counts for as many steps.
    let stride = (64 >> order).max(1);
    let mut budget = Budget::limited();
    for done in start..count {
        if done != start && done % stride == 0 && preempt_needed() {
            return Err(again(args, command, done));
        }
        let step = match command {
            abi::XENMEM_increase_reservation => list.increase(done),
            abi::XENMEM_populate_physmap => list.populate(done),
            _ => list.decrease(done, &mut budget),
        };
        match step {
            Step::Done => {}
            Step::End => return Ok(done),
            Step::Again => return Err(again(args, command, done)),
        }
    }
    Ok(count)
}

impl List {
    /// New frames, with no place in the guest's memory yet.
    fn increase(&self, at: u64) -> Step {
        let Ok(mfn) = pages::alloc_domain_pages(&self.domain, self.order, self.bits) else {
            return Step::End;
        };
        if !self.extents.is_null() && self.extents.at(at).write(&mfn.0).is_err() {
            return Step::End;
        }
        Step::Done
    }

    /// New frames at the guest frame numbers that the list holds; the machine frame numbers go there.
    fn populate(&self, at: u64) -> Step {
        let Ok(gpfn) = self.extents.at(at).read() else {
            return Step::End;
        };
        let Ok(mfn) = pages::populate_for(&self.domain, gpfn, self.order, self.bits) else {
            return Step::End;
        };
        match self.extents.at(at).write(&mfn.0) {
            Ok(()) => Step::Done,
            Err(_) => Step::End,
        }
    }

    /// Frames given up. Those that are mapped somewhere stay the domain's until they are not.
    fn decrease(&self, at: u64, budget: &mut Budget) -> Step {
        let Ok(first) = self.extents.at(at).read() else {
            return Step::End;
        };
        for n in 0..1 << self.order {
            match give_up(Mfn(first.wrapping_add(n)), &self.domain, budget) {
                Ok(()) => {}
                // Frames of this extent that are gone already are passed over when the call continues.
                Err(Fail::Errno(_)) if n + 1 < 1 << self.order => {}
                Err(Fail::Errno(_)) => return Step::End,
                Err(Fail::Again) => return Step::Again,
            }
        }
        Step::Done
    }
}

/// The domain gives up its own reference to a frame.
fn give_up(mfn: Mfn, domain: &Domain, budget: &mut Budget) -> Result<(), Fail> {
    let page = frame::get_page(mfn, domain)?;
    let word = page.info().type_word();
    if word.is_parked() && word.count() == 0 {
        // A check of a page table that was interrupted and not taken up again: being used as plain memory undoes it.
        typing::acquire(page.info(), Type::Writable, domain, false, budget)?;
        typing::release(page.info(), budget);
    }
    // The guest frame number goes first: the frame may be somebody else's right after.
    m2p::clear(mfn);
    if cells::release_allocation(page.info()) {
        Ok(())
    } else {
        Err(Fail::Errno(Errno::EINVAL))
    }
}

impl From<Fail> for Stop {
    /// For callers that cannot be interrupted: `Again` is then `EAGAIN`.
    fn from(fail: Fail) -> Self {
        Stop::Errno(fail.errno())
    }
}
