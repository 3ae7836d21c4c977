//! Hypercalls: one table, one small file for each family.
//!
//! A handler copies its arguments in once, checks privilege, makes one call into `domain`, `mm` or a
//! sibling, and copies out. Its error says which of three it is.

mod bitmap;
mod callback_op;
mod console_io;
mod cpu_state;
mod domctl;
pub mod event_channel_op;
mod grant_table_op;
mod memory_op;
mod mmu_update;
mod mmuext_op;
mod multicall;
mod physdev_op;
mod platform_op;
mod sched_op;
mod segments;
mod sysctl;
mod table;
mod timer_op;
mod trap_table;
mod update_va_mapping;
mod vcpu_op;
mod vm_assist;
mod xen_version;

use crate::arch::x86::cpu;
use crate::arch::x86::percpu::{self, current};
use crate::arch::x86::regs::UserRegs;
use crate::domain::{self, Vcpu};
use crate::{trace, trap};
use core::sync::atomic::Ordering::Relaxed;
use xen_abi::Errno;

/// Why a handler did not end with a plain result.
#[derive(Debug)]
pub enum Stop {
    /// The guest gets `-errno`.
    Errno(Errno),
    /// Preempted: the guest executes the same hypercall again with these arguments (rdi, rsi, rdx, r10, r8, r9).
    Again([u64; 6]),
    /// The guest cannot go on; the text says why.
    #[expect(dead_code, reason = "no hypercall built so far ends its caller")]
    Crash(&'static str),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Stop::Errno(errno)
    }
}

/// What a handler returns: the value of rax, or why there is none.
pub type Outcome = Result<u64, Stop>;

/// A handler: the calling vcpu is current; the arguments are rdi, rsi, rdx, r10, r8, r9.
pub type Handler = fn(&'static Vcpu, &[u64; 6]) -> Outcome;

/// The negative of an errno as rax holds it.
pub fn negative(errno: Errno) -> u64 {
    (errno.0 as u64).wrapping_neg()
}

/// Carries out hypercall `number`.
#[inline]
fn call(cur: &'static Vcpu, number: u64, args: &[u64; 6]) -> Outcome {
    match table::handler(number) {
        Some(handler) => handler(cur, args),
        None => Err(not_built(number, "")),
    }
}

/// `-ENOSYS`, with a line in the log that names what was asked for.
pub fn not_built(number: u64, sub: &str) -> Stop {
    let name = xen_abi::hypercall_name(number);
    crate::console::limited!(
        log::Level::Debug,
        "hypercall {number} ({name}) {sub} is not implemented"
    );
    Stop::Errno(Errno::ENOSYS)
}

/// A `syscall` from a guest kernel: number in rax.
#[unsafe(no_mangle)]
extern "C" fn paravane_hypercall(regs: &mut UserRegs) {
    let cur = current();
    let number = regs.rax;
    trace::count(trace::Counter::Hypercalls);
    if number == xen_abi::__HYPERVISOR_iret {
        return trap::iret(cur, regs);
    }
    trace::record(trace::Kind::Hypercall, number, regs.rdi);
    let args = [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9];
    match call(cur, number, &args) {
        Ok(value) => regs.rax = value,
        Err(Stop::Errno(errno)) => regs.rax = negative(errno),
        Err(Stop::Again(args)) => {
            trace::count(trace::Counter::Preemptions);
            // What it waits for may be another CPU's work: a pause lets that one on where CPUs share a core, or take turns
            // under an emulator that counts instructions.
            core::hint::spin_loop();
            // Both forms, `syscall` in place and in a hypercall page, are two bytes long.
            regs.rip = regs.rip.wrapping_sub(2);
            [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9] = args;
        }
        Err(Stop::Crash(why)) => domain::crash_current(regs, why),
    }
    trace::record(trace::Kind::HypercallEnd, number, regs.rax);
}

/// Whether a long operation should stop here and continue later: lets pending interrupts in for a moment, and looks
/// whether they left work. The caller holds no lock.
pub fn preempt_needed() -> bool {
    // SAFETY: at a preemption point no lock is held and no per-CPU state is half changed.
    unsafe { cpu::open_interrupt_window() };
    percpu::info().work.load(Relaxed) != 0
}
