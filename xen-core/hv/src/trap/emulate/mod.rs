//! What a guest cannot do itself, done for it: privileged instructions, port accesses, and writes to memory that it
//! has read-only.
//!
//! A faulting instruction is fetched once, decoded by `xen_logic::decode`, and carried out or refused. Refused means
//! that the guest kernel gets the fault.

mod control;
mod cpuid;
mod guest_code;
mod memory;
mod msr;
mod port;
mod string_io;

pub use memory::pte_write;
pub use msr::{arch_capabilities, fill_hypercall_page};
pub use port::DomainIo;

use crate::arch::x86::regs::{UserRegs, rflags, vector};
use crate::domain::Vcpu;
use crate::trace::{self, Counter, Kind};
use core::sync::atomic::Ordering::Relaxed;
use xen_logic::decode::{Op, System, decode};

/// What became of a fault.
#[derive(Debug)]
pub enum Emulated {
    /// The guest goes on; its registers are as they should be.
    Done,
    /// Nothing to emulate: the guest gets the fault as it came.
    NotMine,
    /// The guest gets this exception instead.
    Inject {
        /// Exception vector.
        vector: u8,
        /// Its error code, if it has one.
        error_code: Option<u32>,
        /// The address of a page fault.
        cr2: Option<u64>,
    },
}

/// Where the guest goes on after an emulated instruction.
enum Flow {
    /// At the next instruction.
    Next,
    /// At the same one: a string instruction is not at its end.
    Again,
}

/// How an instruction ended; the error is what is told to the caller of the emulator.
type Executed = Result<Flow, Emulated>;

/// `rdmsr` as a word of code.
const RDMSR: u16 = u16::from_le_bytes([0x0f, 0x32]);
const RDMSR_LEN: u8 = 2;

/// Emulates the instruction at which the guest met #GP with error code 0, or #UD.
pub fn privileged(cur: &'static Vcpu, regs: &mut UserRegs) -> Emulated {
    let kernel = cur.hot.kernel_mode.load(Relaxed) != 0;
    if kernel && guest_code::fetch_word(regs.rip).is_some_and(|code| code as u16 == RDMSR) && msr::read_base(regs) {
        trace::count(Counter::Emulations);
        return finish(cur, regs, RDMSR_LEN, Ok(Flow::Next));
    }
    let Some(code) = guest_code::fetch(regs.rip) else {
        return Emulated::NotMine;
    };
    let Ok(insn) = decode(&code) else {
        return Emulated::NotMine;
    };
    let forced = insn.op == Op::System(System::ForcedCpuid);
    // The prefix raises #UD, everything else that is emulated #GP.
    if forced != (regs.entry_vector == vector::UD as u32) {
        return Emulated::NotMine;
    }
    trace::count(Counter::Emulations);
    trace::record(Kind::Emulate, regs.rip, insn.len as u64);
    let executed = match &insn.op {
        Op::System(System::ForcedCpuid) => cpuid::execute(cur, regs, kernel),
        Op::System(system) if kernel => control::execute(cur, regs, system, insn.len),
        Op::Port(io) => port::execute(cur, regs, io, kernel),
        _ => Err(Emulated::NotMine),
    };
    finish(cur, regs, insn.len, executed)
}

/// Ends an emulated instruction as the processor would.
#[inline]
fn finish(cur: &Vcpu, regs: &mut UserRegs, len: u8, executed: Executed) -> Emulated {
    match executed {
        Ok(Flow::Next) => regs.rip = regs.rip.wrapping_add(len as u64),
        // A single step of the guest's debugger is a whole iteration.
        Ok(Flow::Again) => {}
        Err(outcome) => return outcome,
    }
    if regs.rflags & (rflags::TF | rflags::RF) == 0 {
        return Emulated::Done;
    }
    regs.rflags &= !rflags::RF;
    if regs.rflags & rflags::TF == 0 {
        return Emulated::Done;
    }
    single_step(cur)
}

/// DR6: the exception is by single-step.
const DR6_BS: u64 = 1 << 14;

#[cold]
fn single_step(cur: &Vcpu) -> Emulated {
    let dr6 = cur.cpu.debugreg(6).unwrap_or(0);
    // DR6 takes every value.
    let _ = cur.cpu.set_debugreg(6, dr6 | DR6_BS, true);
    Emulated::Inject {
        vector: vector::DB,
        error_code: None,
        cr2: None,
    }
}

/// The guest gets #GP(0).
fn general_protection() -> Emulated {
    Emulated::Inject {
        vector: vector::GP,
        error_code: Some(0),
        cr2: None,
    }
}

/// The guest gets #PF at `addr`.
fn page_fault(addr: u64, error_code: u32) -> Emulated {
    Emulated::Inject {
        vector: vector::PF,
        error_code: Some(error_code),
        cr2: Some(addr),
    }
}
