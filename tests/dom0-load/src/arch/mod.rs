//! The loads' assembly.

use std::arch::asm;

const SCHED_YIELD: u64 = libc::SYS_sched_yield as u64;

/// Raises a breakpoint and an invalid opcode; both must be handled, the second by stepping over its two bytes.
pub(crate) fn raise_traps() {
    // SAFETY: the caller has installed handlers, as this function demands.
    unsafe { asm!("int3", "ud2") };
}

/// Fills all vector registers, gives the CPU away many times and looks whether they are still the same.
pub(crate) fn vector_registers_hold(seed: u64, yields: u64) -> bool {
    let before: [u64; 32] = std::array::from_fn(|index| seed << 32 | (index as u64) << 8 | 0x5a);
    let mut after = [0_u64; 32];
    // SAFETY: loads and stores stay in the two arrays; registers that the system call and the loads change are named.
    unsafe {
        asm!(
            "movdqu xmm0, [rsi]", "movdqu xmm1, [rsi+16]", "movdqu xmm2, [rsi+32]", "movdqu xmm3, [rsi+48]",
            "movdqu xmm4, [rsi+64]", "movdqu xmm5, [rsi+80]", "movdqu xmm6, [rsi+96]", "movdqu xmm7, [rsi+112]",
            "movdqu xmm8, [rsi+128]", "movdqu xmm9, [rsi+144]", "movdqu xmm10, [rsi+160]", "movdqu xmm11, [rsi+176]",
            "movdqu xmm12, [rsi+192]", "movdqu xmm13, [rsi+208]", "movdqu xmm14, [rsi+224]", "movdqu xmm15, [rsi+240]",
            "2:", "mov rax, {yield_number}", "syscall", "dec r8", "jnz 2b",
            "movdqu [rdi], xmm0", "movdqu [rdi+16], xmm1", "movdqu [rdi+32], xmm2", "movdqu [rdi+48], xmm3",
            "movdqu [rdi+64], xmm4", "movdqu [rdi+80], xmm5", "movdqu [rdi+96], xmm6", "movdqu [rdi+112], xmm7",
            "movdqu [rdi+128], xmm8", "movdqu [rdi+144], xmm9", "movdqu [rdi+160], xmm10", "movdqu [rdi+176], xmm11",
            "movdqu [rdi+192], xmm12", "movdqu [rdi+208], xmm13", "movdqu [rdi+224], xmm14", "movdqu [rdi+240], xmm15",
            yield_number = const SCHED_YIELD,
            inout("r8") yields => _,
            in("rsi") before.as_ptr(), in("rdi") after.as_mut_ptr(),
            out("rax") _, out("rcx") _, out("r11") _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _, out("xmm6") _,
            out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _, out("xmm12") _,
            out("xmm13") _, out("xmm14") _, out("xmm15") _,
        );
    }
    before == after
}

/// An x87 register and both rounding modes, one a process.
pub(crate) fn x87_and_control_hold(seed: u64, yields: u64) -> bool {
    let mxcsr = 0x1f80_u32 | ((seed as u32 & 3) << 13);
    let control = 0x037f_u16 | ((seed as u16 & 3) << 10);
    let value = 1.0 / (seed as f64 + 3.0);
    let (mut mxcsr_after, mut control_after, mut value_after) = (0_u32, 0_u16, 0.0_f64);
    let (mxcsr_old, control_old) = (0x1f80_u32, 0x037f_u16);
    // SAFETY: reads and writes the named locals only; the default modes are loaded again before Rust code runs, and
    // the x87 stack ends as it began.
    unsafe {
        asm!(
            "ldmxcsr [{mxcsr}]", "fldcw [{control}]", "fld qword ptr [{value}]",
            "2:", "mov rax, {yield_number}", "syscall", "dec r8", "jnz 2b",
            "fstp qword ptr [{value_after}]", "fnstcw [{control_after}]", "stmxcsr [{mxcsr_after}]",
            "fldcw [{control_old}]", "ldmxcsr [{mxcsr_old}]",
            yield_number = const SCHED_YIELD,
            mxcsr = in(reg) &raw const mxcsr, control = in(reg) &raw const control, value = in(reg) &raw const value,
            mxcsr_after = in(reg) &raw mut mxcsr_after, control_after = in(reg) &raw mut control_after,
            value_after = in(reg) &raw mut value_after,
            mxcsr_old = in(reg) &raw const mxcsr_old, control_old = in(reg) &raw const control_old,
            inout("r8") yields => _, out("rax") _, out("rcx") _, out("r11") _,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
        );
    }
    value_after.to_bits() == value.to_bits() && control_after == control && mxcsr_after & 0x6000 == mxcsr & 0x6000
}
