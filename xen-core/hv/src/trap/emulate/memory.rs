//! Writes of a guest kernel to memory that it has read-only: its page tables, and device memory that the hypervisor
//! guards (PCI configuration space, MSI-X tables).
//!
//! Linux changes most entries by hypercall, but clears one by `xchg` and write-protects one by a locked `and` or
//! `btr` on the entry itself: once for each page in `fork`, `munmap` and `exit`. So this is a short way: one
//! walk, eight bytes of code, one exchange of the entry.

use super::guest_code::{fetch, fetch_short, fetch_word};
use super::{Emulated, Flow, finish};
use crate::arch::x86::regs::{UserRegs, rflags};
use crate::domain::Vcpu;
use crate::guest::GuestPtr;
use crate::irq;
use crate::mm::emulated::{self, Found};
use crate::mm::{Mfn, frame};
use crate::trace::{self, Kind};
use xen_abi::Errno;
use xen_logic::decode::quick::{self, Change};
use xen_logic::decode::{Access, Insn, Kind as Operation, Op, Place, RegFile, Segment, decode};
use xen_logic::pte::Pte;

const RSI: u8 = 6;
const RDI: u8 = 7;
const RCX: u8 = 1;

/// Emulates the write at which the guest kernel met #PF on a mapping that is present.
#[inline]
pub fn pte_write(cur: &'static Vcpu, regs: &mut UserRegs, addr: u64) -> Emulated {
    match emulated::find(cur, addr) {
        Found::Entry(target) => match quick_write(cur, regs, addr, target) {
            Some(outcome) => outcome,
            None => table_write(cur, regs, addr, target),
        },
        Found::Other(mapping) if is_guarded(mapping) && cur.domain().privileged => {
            device_write(cur, regs, addr, Mfn(mapping.mfn()))
        }
        _ => Emulated::NotMine,
    }
}

/// The short way: an encoding that Linux uses on page-table entries. `None` for others, with nothing done.
#[inline]
fn quick_write(cur: &'static Vcpu, regs: &mut UserRegs, addr: u64, target: emulated::Target) -> Option<Emulated> {
    let insn = quick::decode(fetch_word(regs.rip)?, regs)?;
    let whole = addr & 7 == 0 || matches!(insn.change, Change::AndByte(_));
    if insn.address != addr || !whole {
        return None;
    }
    let old = target.read();
    let (new, rflags) = insn.change.apply(old, addr, regs);
    trace::record(Kind::PtWrite, addr, new);
    // Also where nothing changes: only then is it certain that `old` came out of the domain's own table.
    if let Err(error) = emulated::exchange(cur, target, old, new) {
        return Some(not_written(error));
    }
    if let Change::Exchange(reg) = insn.change {
        regs.set_gpr(reg, old);
    }
    regs.rflags = rflags;
    Some(finish(cur, regs, insn.len, Ok(Flow::Next)))
}

/// What becomes of a write that was not done.
#[cold]
fn not_written(error: Errno) -> Emulated {
    match error {
        // The processor has set a bit, or another vcpu was here: the guest executes the instruction again.
        Errno::EAGAIN => Emulated::Done,
        _ => Emulated::NotMine,
    }
}

/// The memory-writing instruction at the guest's RIP, if it is one and writes at `addr`, inside eight aligned bytes.
#[inline]
fn access_at(regs: &UserRegs, addr: u64) -> Option<(Access, u8)> {
    let insn = match decode(&fetch_short(regs.rip)?) {
        Ok(insn) => insn,
        Err(_) => decode(&fetch(regs.rip)?).ok()?,
    };
    let Insn {
        op: Op::Write(access),
        len,
    } = insn
    else {
        return None;
    };
    let fits = (addr & 7).wrapping_add(access.width.bytes()) <= 8;
    (fits && access.address(regs, len) == addr).then_some((access, len))
}

#[cold]
fn table_write(cur: &'static Vcpu, regs: &mut UserRegs, addr: u64, target: emulated::Target) -> Emulated {
    let Some((access, len)) = access_at(regs, addr) else {
        return Emulated::NotMine;
    };
    let Ok(source) = string_source(&access, regs) else {
        return Emulated::NotMine;
    };
    let old = target.read();
    // A shorter operand is a part of the entry.
    let shift = (addr & 7) * 8;
    let mask = access.width.mask() << shift;
    let outcome = access.apply(regs, (old & mask) >> shift, source);
    let new = old & !mask | outcome.new << shift & mask;
    trace::record(Kind::PtWrite, addr, new);
    // A whole entry stored whatever was there; otherwise what was there must still be.
    let expected = if matches!(access.kind, Operation::Store(_)) && mask == u64::MAX {
        None
    } else {
        Some(old)
    };
    if let Err(error) = emulated::write(cur, target, expected, new) {
        return not_written(error);
    }
    if let Some((reg, value)) = outcome.reg {
        reg.write(regs, access.width, value);
    }
    regs.rflags = outcome.rflags;
    let flow = advance(&access, regs);
    finish(cur, regs, len, Ok(flow))
}

/// A write to guarded device memory, which `irq` passes on or drops. Only plain stores are done to devices.
#[cold]
fn device_write(cur: &'static Vcpu, regs: &mut UserRegs, addr: u64, frame: Mfn) -> Emulated {
    let Some((access, len)) = access_at(regs, addr) else {
        return Emulated::NotMine;
    };
    if !matches!(access.kind, Operation::Store(_) | Operation::Stos | Operation::Movs(_)) {
        return Emulated::NotMine;
    }
    let Ok(source) = string_source(&access, regs) else {
        return Emulated::NotMine;
    };
    let outcome = access.apply(regs, 0, source);
    irq::mmio_write(frame.maddr() | addr & 0xfff, access.width.bytes() as u8, outcome.new);
    let flow = advance(&access, regs);
    finish(cur, regs, len, Ok(flow))
}

/// Is it a mapping of a device frame that every mapping has read-only?
#[inline]
fn is_guarded(mapping: Pte) -> bool {
    let mfn = Mfn(mapping.mfn());
    !mapping.is_writable() && frame::info(mfn).is_none() && irq::mmio_read_only(mfn)
}

/// What `movs` copies; 0 for other instructions.
///
/// # Errors
/// `EFAULT`.
#[inline]
fn string_source(access: &Access, regs: &UserRegs) -> Result<u64, Errno> {
    match (access.kind, access.place) {
        (Operation::Movs(segment), Place::Rdi { addr32, .. }) => read_source(access, segment, addr32, regs),
        _ => Ok(0),
    }
}

#[cold]
fn read_source(access: &Access, segment: Segment, addr32: bool, regs: &UserRegs) -> Result<u64, Errno> {
    let base = if segment == Segment::Flat {
        0
    } else {
        regs.segment_base(segment)
    };
    let at = base.wrapping_add(masked(regs.gpr(RSI), addr32));
    let mut bytes = [0; 8];
    GuestPtr::<u8>::new(at).read_slice(&mut bytes[..access.width.bytes() as usize])?;
    Ok(u64::from_le_bytes(bytes))
}

/// Moves on the index registers of a string instruction by one datum.
#[inline]
fn advance(access: &Access, regs: &mut UserRegs) -> Flow {
    let Place::Rdi { rep, addr32 } = access.place else {
        return Flow::Next;
    };
    let len = access.width.bytes();
    let step = if regs.rflags & rflags::DF == 0 {
        len
    } else {
        len.wrapping_neg()
    };
    regs.set_gpr(RDI, masked(regs.gpr(RDI).wrapping_add(step), addr32));
    if matches!(access.kind, Operation::Movs(_)) {
        regs.set_gpr(RSI, masked(regs.gpr(RSI).wrapping_add(step), addr32));
    }
    if !rep {
        return Flow::Next;
    }
    let left = masked(regs.gpr(RCX).wrapping_sub(1), addr32);
    regs.set_gpr(RCX, left);
    if left == 0 { Flow::Next } else { Flow::Again }
}

#[inline]
fn masked(value: u64, addr32: bool) -> u64 {
    if addr32 { value & 0xffff_ffff } else { value }
}
