//! CPUID behind the forced-emulation prefix.

use super::{Executed, Flow};
use crate::arch::x86::regs::UserRegs;
use crate::cpuid;
use crate::domain::Vcpu;

/// Carries out `cpuid` by the guest's policy.
pub(super) fn execute(cur: &Vcpu, regs: &mut UserRegs, kernel: bool) -> Executed {
    let leaf = cpuid::of_vcpu(cur, kernel, regs.rax as u32, regs.rcx as u32);
    regs.rax = leaf.a as u64;
    regs.rbx = leaf.b as u64;
    regs.rcx = leaf.c as u64;
    regs.rdx = leaf.d as u64;
    Ok(Flow::Next)
}
