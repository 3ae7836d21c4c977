//! Exceptions of the hypervisor's own, and NMIs.

use crate::arch::x86::regs::UserRegs;
use crate::arch::x86::segment;
use core::fmt;

/// Registers in the form of Xen's dumps, so that eyes trained there find their way.
pub struct Registers<'a>(&'a UserRegs);

/// Registers for a log line.
pub fn show_registers(regs: &UserRegs) -> Registers<'_> {
    Registers(regs)
}

impl fmt::Display for Registers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let r = self.0;
        writeln!(
            f,
            "rip: {:04x}:{:016x} rflags: {:016x} cr3: {:016x}",
            r.cs,
            r.rip,
            r.rflags,
            segment::read_cr3()
        )?;
        writeln!(f, "rax: {:016x} rbx: {:016x} rcx: {:016x}", r.rax, r.rbx, r.rcx)?;
        writeln!(f, "rdx: {:016x} rsi: {:016x} rdi: {:016x}", r.rdx, r.rsi, r.rdi)?;
        writeln!(f, "rbp: {:016x} rsp: {:016x} r8:  {:016x}", r.rbp, r.rsp, r.r8)?;
        writeln!(f, "r9:  {:016x} r10: {:016x} r11: {:016x}", r.r9, r.r10, r.r11)?;
        writeln!(f, "r12: {:016x} r13: {:016x} r14: {:016x}", r.r12, r.r13, r.r14)?;
        write!(
            f,
            "r15: {:016x} ss: {:04x} vector: {} error code: {:#x}",
            r.r15, r.ss, r.entry_vector, r.error_code
        )
    }
}

/// An exception of the hypervisor that nothing foresaw: a bug in the hypervisor.
pub fn die(regs: &UserRegs) -> ! {
    let cr2 = segment::read_cr2();
    crate::console::panic::fatal(
        format_args!("exception {} in the hypervisor, cr2 {cr2:#x}", regs.entry_vector),
        Some(regs),
    )
}

/// An NMI: somebody wants to know what this CPU does.
pub fn nmi(regs: &UserRegs) {
    crate::console::panic::nmi_dump(regs);
}
