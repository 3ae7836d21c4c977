//! The entry paths' Rust side: constants for the assembly, and the MSRs that lead to it.

use super::percpu::{CpuInfo, INFO_SIZE};
use super::regs::{SYSCALL_ENTRY, UserRegs, rflags, selector};
use crate::domain::{Hot, Vcpu};
use crate::mm::layout::{HOLE_END, NR_CPUS, STACK_STRIDE};
use core::arch::global_asm;
use core::mem::{offset_of, size_of};

global_asm!(
    include_str!("entry.s"),
    NR_CPUS = const NR_CPUS,
    STRIDE = const STACK_STRIDE,
    TOP = const STACK_STRIDE - INFO_SIZE,
    INFO = const size_of::<UserRegs>(),
    FRAME = const size_of::<UserRegs>(),
    SCRATCH = const offset_of!(CpuInfo, scratch),
    CURRENT = const offset_of!(CpuInfo, current),
    WORK = const offset_of!(CpuInfo, work),
    // Bytes between a syscall stub's frame and CpuInfo.
    ENTRY = const 48,
    IRET = const xen_abi::__HYPERVISOR_iret,
    ABOVE_HOLE = const (HOLE_END >> 43) as u32,
    FLAG_IF = const rflags::IF,
    USER_FLAGS = const USER_FLAGS,
    KERNEL_FLAGS = const rflags::IF | rflags::FIXED,
    USER_CR3 = const offset_of!(Vcpu, hot) + offset_of!(Hot, user_cr3),
    KERNEL_CR3 = const offset_of!(Vcpu, hot) + offset_of!(Hot, kernel_cr3),
    FAST_SYSCALL = const offset_of!(Vcpu, hot) + offset_of!(Hot, fast_syscall),
    FRAME_SP = const offset_of!(Vcpu, hot) + offset_of!(Hot, frame_sp),
    FAST_IRETS = const offset_of!(CpuInfo, fast_irets),
    FAST_SYSCALLS = const offset_of!(CpuInfo, fast_syscalls),
    SYSRETS = const offset_of!(CpuInfo, sysrets),
    IRETS = const offset_of!(CpuInfo, irets),
    KERNEL_MODE = const offset_of!(Vcpu, hot) + offset_of!(Hot, kernel_mode),
    VCPU_INFO = const offset_of!(Vcpu, hot) + offset_of!(Hot, info),
    SLOT = const offset_of!(UserRegs, error_code),
    RIP = const offset_of!(UserRegs, rip),
    CS = const offset_of!(UserRegs, cs),
    GUEST_SS = const selector::GUEST_SS,
    GUEST_CS32 = const selector::GUEST_CS32,
    GUEST_CS64 = const selector::GUEST_CS64,
    SYSCALL_ENTRY = const SYSCALL_ENTRY,
    options(att_syntax)
);

unsafe extern "C" {
    static paravane_syscall_stubs: u8;
    static paravane_vector_stubs: u8;
    /// Leaves for the current vcpu, or idles until there is one. The stack is reset: nothing on it survives.
    pub safe fn paravane_enter_guest() -> !;
}

/// Address of the entry stub of interrupt or exception `vector`.
pub fn vector_stub(vector: u8) -> u64 {
    &raw const paravane_vector_stubs as u64 + vector as u64 * 16
}

/// Flags that `syscall` clears: what could disturb the hypervisor, or let it be disturbed.
const SYSCALL_MASK: u64 = rflags::AC | rflags::RF | rflags::NT | rflags::DF | rflags::IF | rflags::TF | rflags::IOPL;

/// Flags that a guest's user space may have: neither IOPL nor the virtual-8086 bits.
pub const USER_FLAGS: u64 = 0x3f_ffff & !(rflags::IOPL | rflags::VM | rflags::VIF | rflags::VIP);

const MSR_STAR: u32 = 0xc000_0081;
const MSR_LSTAR: u32 = 0xc000_0082;
const MSR_CSTAR: u32 = 0xc000_0083;
const MSR_SFMASK: u32 = 0xc000_0084;
const MSR_SYSENTER_CS: u32 = 0x174;
const MSR_SYSENTER_ESP: u32 = 0x175;
const MSR_SYSENTER_EIP: u32 = 0x176;

/// Points this CPU's fast system calls at its stubs; `sysenter` gets a null selector, so that it faults.
pub fn init_syscall_msrs(cpu: usize) {
    let stub = &raw const paravane_syscall_stubs as u64 + cpu as u64 * 128;
    // SYSRET adds 16 to its selector for 64-bit code and 8 for the stack.
    let star = (selector::GUEST_CS32 as u64) << 48 | (selector::HV_CS as u64) << 32;
    // SAFETY: each target is the stub made for this CPU; EFER.SCE is set by the boot code.
    unsafe {
        super::segment::wrmsr(MSR_STAR, star);
        super::segment::wrmsr(MSR_LSTAR, stub);
        super::segment::wrmsr(MSR_CSTAR, stub + 64);
        super::segment::wrmsr(MSR_SFMASK, SYSCALL_MASK);
        super::segment::wrmsr(MSR_SYSENTER_CS, 0);
        super::segment::wrmsr(MSR_SYSENTER_ESP, 0);
        super::segment::wrmsr(MSR_SYSENTER_EIP, 0);
    }
}
