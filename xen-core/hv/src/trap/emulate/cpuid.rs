//! CPUID behind the forced-emulation prefix.

use super::{Executed, Flow};
use crate::arch::x86::regs::UserRegs;
use crate::arch::x86::{fpu, segment};
use crate::domain::Vcpu;
use crate::mm::frame;
use crate::time::clock;
use core::arch::x86_64::__cpuid_count;
use core::sync::atomic::Ordering::Relaxed;
use xen_logic::cpuid::{Clock, Leaf, Viewer, guest_leaf};

const CR4_OSXSAVE: u64 = 1 << 18;

/// What the machine says.
pub(super) fn raw(leaf: u32, subleaf: u32) -> Leaf {
    let r = __cpuid_count(leaf, subleaf);
    Leaf {
        a: r.eax,
        b: r.ebx,
        c: r.ecx,
        d: r.edx,
    }
}

/// Carries out `cpuid` by the guest's policy.
pub(super) fn execute(cur: &Vcpu, regs: &mut UserRegs, kernel: bool) -> Executed {
    let leaf = guest_leaf(raw, &viewer(cur, kernel), regs.rax as u32, regs.rcx as u32);
    regs.rax = leaf.a as u64;
    regs.rbx = leaf.b as u64;
    regs.rcx = leaf.c as u64;
    regs.rdx = leaf.d as u64;
    Ok(Flow::Next)
}

fn viewer(cur: &Vcpu, kernel: bool) -> Viewer {
    let domain = cur.domain();
    // Linux asks for OSXSAVE before it sets CR4, and takes it for a promise that XSAVE is there.
    let osxsave = fpu::xcr0_all() != 0 && (kernel || cur.cpu.cr4.load(Relaxed) & CR4_OSXSAVE != 0);
    Viewer {
        hardware_domain: domain.privileged,
        vcpu_id: cur.id,
        osxsave,
        fsgsbase: segment::has_fsgsbase(),
        clock: clock_facts(),
        machine_address_bits: (64 - (frame::limit() - 1).leading_zeros() + 12) as u8,
    }
}

fn clock_facts() -> Clock {
    let rate = clock::rate();
    Clock {
        reliable: clock::is_stable() && clock::is_invariant(),
        khz: (clock::tsc_hz() / 1000) as u32,
        multiplier: rate.mul,
        shift: rate.shift,
    }
}
