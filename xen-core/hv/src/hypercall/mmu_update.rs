//! `mmu_update`: changes of page-table entries and of the machine-to-physical table, many in one call.

use super::{Outcome, Stop, preempt_needed};
use crate::console::limited;
use crate::domain::Vcpu;
use crate::guest::GuestPtr;
use crate::mm::frame::{FrameInfo, Owner, Type};
use crate::mm::pt::Scope;
use crate::mm::typing::{self, Budget, Fail};
use crate::mm::update::{self, Mode};
use crate::mm::{Mfn, frame, logdirty, m2p, pending};
use crate::trace;
use core::sync::atomic::Ordering::Relaxed;
use xen_abi as abi;
use xen_abi::Errno;
use xen_logic::pte::Pte;

mod parties;
use parties::Parties;
pub(super) use parties::{DomainRef, living_domain, named_domain};

/// Set in the count when a call is continued: `pdone` holds what earlier parts did.
pub(super) const PREEMPTED: u64 = 1 << 31;

/// Requests copied in at once: as many as Linux's batches mostly have.
const BATCH: usize = 8;

/// The table that the last request was about: requests mostly come in runs for one table.
struct Table {
    info: &'static FrameInfo,
    typ: Type,
}

/// A call in progress.
struct Call<'a> {
    scope: Scope<'a>,
    table: Option<Table>,
    budget: Budget,
}

/// `mmu_update(requests, count, done, domains)`.
///
/// # Errors
/// That of the first request that failed; those before it are done.
pub fn mmu_update(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    // What Linux asks for mostly: one entry of a table and with frames of its own, and no report.
    if args[1] as u32 == 1 && args[2] == 0 && args[3] == abi::DOMID_SELF as u64 && pending::is_empty() {
        let request = GuestPtr::<abi::mmu_update>::new(args[0]).read()?;
        if let Some(result) = one_l1(cur, &request) {
            return result;
        }
    }
    many(cur, args)
}

/// One request about a level-1 table that is in use; `None` if it is about something else.
#[inline(always)]
fn one_l1(cur: &'static Vcpu, request: &abi::mmu_update) -> Option<Outcome> {
    let mode = match request.ptr & 7 {
        abi::MMU_NORMAL_PT_UPDATE | abi::MMU_PT_UPDATE_NO_TRANSLATE => Mode::Replace,
        abi::MMU_PT_UPDATE_PRESERVE_AD => Mode::PreserveAd,
        _ => return None,
    };
    let domain = cur.domain();
    let table = typing::acquire_valid(Mfn(request.ptr >> 12), Type::L1, domain)?;
    let word = table.word((request.ptr as usize & 0xfff) >> 3);
    let done = update::update_l1(word, Pte(request.val), mode, &Scope::own(domain));
    typing::release(table, &mut Budget::unlimited());
    trace::count(trace::Counter::PtUpdates);
    match done {
        Ok(()) => Some(Ok(0)),
        // Not done, and not to be refused: it is tried again in full.
        Err(Fail::Again) => None,
        Err(Fail::Errno(errno)) => {
            failed(request, errno);
            Some(Err(Stop::Errno(errno)))
        }
    }
}

#[inline(never)]
fn many(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    pending::finish_first(args)?;
    let parties;
    let scope = if args[3] == abi::DOMID_SELF as u64 {
        Scope::own(cur.domain())
    } else {
        parties = Parties::find(cur, args[3])?;
        parties.scope()
    };
    let count = args[1] as u32 as u64 & !PREEMPTED;
    let mut call = Call {
        scope,
        table: None,
        budget: Budget::limited(),
    };
    let (done, result) = call.run(GuestPtr::new(args[0]), count);
    call.leave_table();
    trace::add(trace::Counter::PtUpdates, done);
    finish(args, done, count, result, size_of::<abi::mmu_update>() as u64)
}

/// Reports progress, and ends or continues a call of `count` requests of which `done` are done; `size` is that of a
/// request. The same for `mmu_update` and `mmuext_op`.
pub(super) fn finish(args: &[u64; 6], done: u64, count: u64, result: Result<(), Fail>, size: u64) -> Outcome {
    let result = match result {
        // What this call has dropped is dropped before it reports success.
        Ok(()) if !pending::is_empty() => Err(Fail::Again),
        other => other,
    };
    let report = GuestPtr::<u32>::new(args[2]);
    if !report.is_null() {
        let before = if args[1] & PREEMPTED != 0 { report.read()? } else { 0 };
        report.write(&before.wrapping_add(done as u32))?;
    }
    match result {
        Ok(()) => Ok(0),
        Err(Fail::Errno(errno)) => Err(Stop::Errno(errno)),
        Err(Fail::Again) => {
            let next = args[0].wrapping_add(done * size);
            Err(Stop::Again([
                next,
                (count - done) | PREEMPTED,
                args[2],
                args[3],
                args[4],
                args[5],
            ]))
        }
    }
}

impl Call<'_> {
    /// Carries out requests until one fails or the time is up; answers how many are done.
    fn run(&mut self, requests: GuestPtr<abi::mmu_update>, count: u64) -> (u64, Result<(), Fail>) {
        if count == 1 {
            let result = requests
                .read()
                .map_err(Fail::Errno)
                .and_then(|request| self.one(&request));
            return (result.is_ok() as u64, result);
        }
        let mut batch = [abi::mmu_update { ptr: 0, val: 0 }; BATCH];
        let mut done = 0;
        while done < count {
            let now = &mut batch[..(count - done).min(BATCH as u64) as usize];
            if let Err(errno) = requests.at(done).read_slice(now) {
                return (done, Err(Fail::Errno(errno)));
            }
            for request in now {
                if let Err(fail) = self.one(request) {
                    return (done, Err(fail));
                }
                done += 1;
            }
            if done % 64 == 0 && done < count && preempt_needed() {
                return (done, Err(Fail::Again));
            }
        }
        (done, Ok(()))
    }

    #[inline]
    fn one(&mut self, request: &abi::mmu_update) -> Result<(), Fail> {
        let result = match request.ptr & 3 {
            abi::MMU_NORMAL_PT_UPDATE | abi::MMU_PT_UPDATE_NO_TRANSLATE => self.entry(request, Mode::Replace),
            abi::MMU_PT_UPDATE_PRESERVE_AD => self.entry(request, Mode::PreserveAd),
            _ => self.machphys(request),
        };
        if let Err(Fail::Errno(errno)) = result {
            failed(request, errno);
        }
        result
    }

    /// Changes a page-table entry, or a word of a frame that the guest could write itself.
    #[inline]
    fn entry(&mut self, request: &abi::mmu_update, mode: Mode) -> Result<(), Fail> {
        let at = request.ptr & !3;
        if at & 7 != 0 {
            return Err(Fail::Errno(Errno::EINVAL));
        }
        let index = (at as usize & 0xfff) >> 3;
        let (info, typ) = self.take_table(Mfn(at >> 12))?;
        let new = Pte(request.val);
        match typ {
            Type::L1 => update::update_l1(info.word(index), new, mode, &self.scope),
            Type::Writable => {
                info.word(index).store(new.0, Relaxed);
                logdirty::touched(info);
                Ok(())
            }
            _ => update::update_table(info, index, typ.level(), new, mode, self.scope.table, &mut self.budget),
        }
    }

    /// A use of the table, kept for the next request.
    #[inline]
    fn take_table(&mut self, mfn: Mfn) -> Result<(&'static FrameInfo, Type), Fail> {
        if let Some(table) = &self.table
            && table.info.mfn() == mfn
        {
            return Ok((table.info, table.typ));
        }
        self.leave_table();
        let info = typing::ram(mfn.0)?;
        let word = info.type_word();
        // A table that is not in use, nor parked on its way there, is memory like any other.
        let typ = if word.typ().is_page_table() && word.holds_reference() {
            word.typ()
        } else {
            Type::Writable
        };
        typing::acquire(info, typ, self.scope.table, false, &mut self.budget)?;
        self.table = Some(Table { info, typ });
        Ok((info, typ))
    }

    fn leave_table(&mut self) {
        if let Some(table) = self.table.take() {
            typing::release(table.info, &mut self.budget);
        }
    }

    /// `MMU_MACHPHYS_UPDATE`: the guest gives one of its frames another number.
    fn machphys(&mut self, request: &abi::mmu_update) -> Result<(), Fail> {
        let owner = Owner::domain(self.scope.frames.id);
        let page = frame::get_page_of(Mfn(request.ptr >> 12), owner)?;
        m2p::set(page.mfn(), request.val);
        logdirty::page_numbered(self.scope.frames, request.val);
        Ok(())
    }
}

#[cold]
fn failed(request: &abi::mmu_update, errno: Errno) {
    limited!(
        log::Level::Warn,
        "mmu_update {:#x} = {:#018x}: -{}",
        request.ptr,
        request.val,
        errno.name()
    );
}
