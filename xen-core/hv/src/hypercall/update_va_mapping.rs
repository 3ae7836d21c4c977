//! `update_va_mapping`: one level-1 entry by the address it maps, with a flush.

use super::Outcome;
use super::mmu_update::named_domain;
use crate::console::limited;
use crate::domain::Vcpu;
use crate::guest::access_ok;
use crate::mm::frame::{Owner, Type};
use crate::mm::pt::{self, Scope};
use crate::mm::typing::{self, Budget, Fail};
use crate::mm::update::{self, Mode};
use crate::mm::{flush, pending};
use crate::trace;
use core::sync::atomic::Ordering::SeqCst;
use xen_abi as abi;
use xen_abi::Errno;
use xen_logic::pte::Pte;

use super::mmuext_op::cpus_of_vcpus;

/// `update_va_mapping(va, entry, flags)`.
///
/// # Errors
/// `EINVAL` where no level-1 table covers the address, or the entry is refused.
pub fn update_va_mapping(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    pending::finish_first(args)?;
    update(cur, args, &Scope::own(cur.domain()))
}

/// `update_va_mapping_otherdomain(va, entry, flags, domain)`: the entry names a frame of another domain.
///
/// # Errors
/// As [`update_va_mapping`]; `EPERM`, `ESRCH`.
pub fn update_va_mapping_otherdomain(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    pending::finish_first(args)?;
    let own = cur.domain();
    match args[3] as u16 {
        abi::DOMID_IO if own.privileged => update(cur, args, &Scope::special(own, Owner::IO)),
        abi::DOMID_XEN if own.privileged => update(cur, args, &Scope::special(own, Owner::XEN)),
        id => {
            let frames = named_domain(cur, id)?;
            update(cur, args, &Scope::foreign(own, &frames))
        }
    }
}

#[inline]
fn update(cur: &'static Vcpu, args: &[u64; 6], scope: &Scope) -> Outcome {
    let [va, entry, flags, ..] = *args;
    let result = change(va, Pte(entry), scope);
    trace::count(trace::Counter::PtUpdates);
    let result = match result {
        Ok(()) => Ok(0),
        Err(Fail::Errno(errno)) => {
            failed(va, entry, errno);
            Err(errno.into())
        }
        Err(Fail::Again) => return Err(super::Stop::Again(*args)),
    };
    // As on Xen, the flush is done even where the entry was refused.
    if flags & abi::UVMF_FLUSHTYPE_MASK != 0 {
        flush_as_asked(cur, va, flags)?;
    }
    result
}

#[inline]
fn change(va: u64, entry: Pte, scope: &Scope) -> Result<(), Fail> {
    // A table that the kernel runs on is in use, unless another vcpu is just taking it away.
    let slot = pt::find_l1(va).ok_or(Fail::Errno(Errno::EINVAL))?;
    let table = typing::acquire_valid(slot.table.mfn(), Type::L1, scope.table).ok_or(Fail::Errno(Errno::EINVAL))?;
    let done = update::update_l1(slot.word(), entry, Mode::Replace, scope);
    typing::release(table, &mut Budget::unlimited());
    done
}

/// Flushes as the low bits of the flags say, on the CPUs that the rest says: none (this one), all, or a bitmap of
/// vcpus at an address.
fn flush_as_asked(cur: &Vcpu, va: u64, flags: u64) -> Result<(), Errno> {
    let kind = flags & abi::UVMF_FLUSHTYPE_MASK;
    let scope = match kind {
        abi::UVMF_TLB_FLUSH => flush::Scope::All,
        abi::UVMF_INVLPG => {
            if !access_ok(va, 1) {
                return Ok(());
            }
            flush::Scope::Page(va)
        }
        _ => return Err(Errno::ENOSYS),
    };
    match flags & !abi::UVMF_FLUSHTYPE_MASK {
        0 => flush::serve(scope),
        abi::UVMF_ALL => flush::flush_mask(cur.domain().dirty_cpus.load(SeqCst), scope),
        bitmap => flush::flush_mask(cpus_of_vcpus(cur.domain(), bitmap)?, scope),
    }
    Ok(())
}

#[cold]
fn failed(va: u64, entry: u64, errno: Errno) {
    limited!(
        log::Level::Warn,
        "update_va_mapping {va:#x} = {entry:#018x}: -{}",
        errno.name()
    );
}
