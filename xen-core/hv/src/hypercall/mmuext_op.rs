//! `mmuext_op`: pins, base pointers, flushes.

use super::mmu_update::{DomainRef, PREEMPTED, finish, living_domain};
use super::{Outcome, Stop, preempt_needed};
use crate::arch::x86::{cpu, smp};
use crate::console::limited;
use crate::domain::{Domain, Vcpu};
use crate::guest::{GuestPtr, access_ok};
use crate::mm::frame::{self, Type};
use crate::mm::typing::{self, Budget, Fail};
use crate::mm::{Mfn, alloc, descriptor, directmap, flush, layout, logdirty, pending, root};
use crate::trace;
use core::sync::atomic::Ordering::{Acquire, SeqCst};
use xen_abi as abi;
use xen_abi::Errno;
use xen_logic::frame::cells;

/// `mmuext_op(operations, count, done, domain)`.
///
/// # Errors
/// That of the first operation that failed; those before it are done.
pub fn mmuext_op(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    // What Linux asks for mostly: one operation of its own, and no report.
    if args[1] as u32 == 1 && args[2] == 0 && args[3] == abi::DOMID_SELF as u64 && pending::is_empty() {
        return single(cur, args);
    }
    pending::finish_first(args)?;
    let owner = living_domain(cur, args[3] as u16)?;
    let count = args[1] as u32 as u64 & !PREEMPTED;
    let (done, result) = run(cur, GuestPtr::new(args[0]), count, &owner);
    finish(args, done, count, result, size_of::<abi::mmuext_op>() as u64)
}

/// One operation of the caller's own.
#[inline]
fn single(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    let op = GuestPtr::<abi::mmuext_op>::new(args[0]).read()?;
    if op.cmd == abi::MMUEXT_INVLPG_LOCAL {
        if access_ok(op.arg1, 1) {
            flush::flush_va_local(op.arg1);
        }
        return Ok(0);
    }
    match one(cur, &op, &DomainRef::Own(cur.domain()), &mut Budget::limited()) {
        Ok(()) if pending::is_empty() => Ok(0),
        Ok(()) => finish(args, 1, 1, Ok(()), size_of::<abi::mmuext_op>() as u64),
        Err(Fail::Again) => Err(Stop::Again(*args)),
        Err(Fail::Errno(errno)) => {
            failed(&op, errno);
            Err(Stop::Errno(errno))
        }
    }
}

fn run(
    cur: &'static Vcpu,
    operations: GuestPtr<abi::mmuext_op>,
    count: u64,
    owner: &DomainRef,
) -> (u64, Result<(), Fail>) {
    let budget = &mut Budget::limited();
    for done in 0..count {
        if done & 15 == 15 && preempt_needed() {
            return (done, Err(Fail::Again));
        }
        let result = operations.at(done).read().map_err(Fail::Errno).and_then(|op| {
            let result = one(cur, &op, owner, budget);
            if let Err(Fail::Errno(errno)) = result {
                failed(&op, errno);
            }
            result
        });
        if result.is_err() {
            return (done, result);
        }
    }
    (count, Ok(()))
}

fn one(cur: &'static Vcpu, op: &abi::mmuext_op, owner: &DomainRef, budget: &mut Budget) -> Result<(), Fail> {
    match op.cmd {
        abi::MMUEXT_PIN_L1_TABLE => return pin(op.arg1, Type::L1, owner, budget),
        abi::MMUEXT_PIN_L2_TABLE => return pin(op.arg1, Type::L2, owner, budget),
        abi::MMUEXT_PIN_L3_TABLE => return pin(op.arg1, Type::L3, owner, budget),
        abi::MMUEXT_PIN_L4_TABLE => return pin(op.arg1, Type::L4, owner, budget),
        abi::MMUEXT_UNPIN_TABLE => return unpin(op.arg1, owner, budget),
        abi::MMUEXT_CLEAR_PAGE => return Ok(clear_page(op.arg1, owner)?),
        abi::MMUEXT_COPY_PAGE => return Ok(copy_page(op.arg1, op.arg2, owner)?),
        _ => {}
    }
    // The rest is about the caller itself.
    if !owner.is_own() {
        return Err(Fail::Errno(Errno::EPERM));
    }
    match op.cmd {
        abi::MMUEXT_NEW_BASEPTR => root::set_kernel_base(cur, Mfn(op.arg1), budget),
        abi::MMUEXT_NEW_USER_BASEPTR => {
            let mfn = if op.arg1 == 0 { None } else { Some(Mfn(op.arg1)) };
            root::set_user_base(cur, mfn, budget)
        }
        abi::MMUEXT_SET_LDT => Ok(descriptor::set_ldt(cur, op.arg1, op.arg2 as u32)?),
        _ => Ok(flush_operation(cur, op)?),
    }
}

/// Flushes of translations and caches.
fn flush_operation(cur: &Vcpu, op: &abi::mmuext_op) -> Result<(), Errno> {
    let domain = cur.domain();
    match op.cmd {
        abi::MMUEXT_TLB_FLUSH_LOCAL => flush::flush_local(),
        abi::MMUEXT_INVLPG_LOCAL => {
            if access_ok(op.arg1, 1) {
                flush::flush_va_local(op.arg1);
            }
        }
        abi::MMUEXT_TLB_FLUSH_MULTI => flush::flush_tlb_mask(cpus_of_vcpus(domain, op.arg2)?),
        abi::MMUEXT_INVLPG_MULTI => {
            let mask = cpus_of_vcpus(domain, op.arg2)?;
            if access_ok(op.arg1, 1) {
                flush::flush_va(op.arg1, mask);
            }
        }
        abi::MMUEXT_TLB_FLUSH_ALL => flush::flush_tlb_mask(domain.dirty_cpus.load(SeqCst)),
        abi::MMUEXT_INVLPG_ALL => {
            if access_ok(op.arg1, 1) {
                flush::flush_va(op.arg1, domain.dirty_cpus.load(SeqCst));
            }
        }
        // Only who has devices has a reason to.
        abi::MMUEXT_FLUSH_CACHE | abi::MMUEXT_FLUSH_CACHE_GLOBAL if !domain.privileged => return Err(Errno::EACCES),
        abi::MMUEXT_FLUSH_CACHE => cpu::wbinvd(),
        abi::MMUEXT_FLUSH_CACHE_GLOBAL => flush::flush_mask(smp::online_mask(), flush::Scope::Cache),
        _ => return Err(Errno::ENOSYS),
    }
    Ok(())
}

/// Pins a table: it keeps its type, checked, until it is unpinned.
fn pin(mfn: u64, typ: Type, owner: &DomainRef, budget: &mut Budget) -> Result<(), Fail> {
    let info = typing::ram(mfn)?;
    // Whoever pins: it is the owner's table, and nobody else's translations come of it.
    typing::acquire(info, typ, owner, false, budget)?;
    if !cells::pin(info) {
        typing::release(info, budget);
        limited!(log::Level::Warn, "frame {mfn:#x} is pinned already");
        return Err(Fail::Errno(Errno::EINVAL));
    }
    logdirty::touched(info);
    trace::record(trace::Kind::Pin, mfn, typ.level() as u64);
    Ok(())
}

/// Unpins. If that was the table's last use, what it holds is dropped; a part of that may be left pending.
fn unpin(mfn: u64, owner: &DomainRef, budget: &mut Budget) -> Result<(), Fail> {
    let page = frame::get_page(Mfn(mfn), owner)?;
    let typ = page.info().type_word().typ();
    if !cells::unpin(page.info()) {
        limited!(log::Level::Warn, "frame {mfn:#x} is not pinned: {:?}", page.info());
        return Err(Fail::Errno(Errno::EINVAL));
    }
    logdirty::touched(page.info());
    trace::record(trace::Kind::Unpin, mfn, typ.level() as u64);
    typing::release(page.info(), budget);
    Ok(())
}

fn clear_page(mfn: u64, owner: &Domain) -> Result<(), Errno> {
    let page = frame::get_page_type(Mfn(mfn), owner, Type::Writable)?;
    alloc::scrub(page.mfn(), 0);
    logdirty::touched(page.info());
    Ok(())
}

fn copy_page(to: u64, from: u64, owner: &Domain) -> Result<(), Errno> {
    let source = frame::get_page(Mfn(from), owner)?;
    let target = frame::get_page_type(Mfn(to), owner, Type::Writable)?;
    // SAFETY: both frames are RAM of the guest's, held by the references; it may write to either meanwhile, and gets
    // what it gets. They may be the same frame, hence `copy`.
    unsafe {
        core::ptr::copy(
            directmap(source.mfn().maddr()),
            directmap(target.mfn().maddr()),
            layout::PAGE_SIZE as usize,
        );
    }
    logdirty::touched(target.info());
    Ok(())
}

/// The CPUs that may hold translations of the vcpus in the guest's bitmap at `bitmap`.
///
/// # Errors
/// `EFAULT`.
pub(super) fn cpus_of_vcpus(domain: &Domain, bitmap: u64) -> Result<u64, Errno> {
    let words = (domain.max_vcpus() as u64).div_ceil(64);
    let mut cpus = 0;
    for word in 0..words {
        let bits = GuestPtr::<u64>::new(bitmap).at(word).read()?;
        for id in crate::arch::x86::mailbox::bits(bits) {
            let Some(vcpu) = domain.vcpu(word as u32 * 64 + id as u32) else {
                continue;
            };
            match vcpu.loaded_on.load(Acquire) {
                // On no CPU, or on its way to one, which may be any that the domain has been on.
                u32::MAX => cpus |= domain.dirty_cpus.load(SeqCst),
                cpu => cpus |= 1 << cpu,
            }
        }
    }
    // Only CPUs that the domain has been on can hold anything.
    Ok(cpus & domain.dirty_cpus.load(SeqCst))
}

#[cold]
fn failed(op: &abi::mmuext_op, errno: Errno) {
    limited!(
        log::Level::Warn,
        "mmuext_op {} ({:#x}, {:#x}): -{}",
        op.cmd,
        op.arg1,
        op.arg2,
        errno.name()
    );
}
