//! Control and debug registers, caches, clocks: what a kernel does in ring 0.

use super::{Emulated, Executed, Flow, msr};
use crate::arch::x86::regs::{UserRegs, vector};
use crate::arch::x86::{cpu, fpu, segment};
use crate::domain::{self, Vcpu};
use crate::guest::access_ok;
use crate::mm::root::set_kernel_base;
use crate::mm::typing::{Budget, Fail};
use crate::mm::{Mfn, flush};
use core::sync::atomic::Ordering::Relaxed;
use xen_logic::decode::{RegFile, System};

const CR0_TS: u64 = 1 << 3;
/// PE, MP, EM, TS: what `lmsw` can set; PE it cannot clear.
const CR0_LMSW: u64 = 0xe;

const CR4_TSD: u64 = 1 << 2;
const CR4_DE: u64 = 1 << 3;
const CR4_PAE: u64 = 1 << 5;
const CR4_MCE: u64 = 1 << 6;
const CR4_OSFXSR: u64 = 1 << 9;
const CR4_OSXMMEXCPT: u64 = 1 << 10;
const CR4_FSGSBASE: u64 = 1 << 16;
const CR4_OSXSAVE: u64 = 1 << 18;
/// Set for every guest, and not the guest's to change.
const CR4_FIXED: u64 = CR4_PAE | CR4_MCE | CR4_OSFXSR | CR4_OSXMMEXCPT;

/// Carries out a system instruction of a guest kernel, `len` bytes long.
pub(super) fn execute(cur: &'static Vcpu, regs: &mut UserRegs, op: &System, len: u8) -> Executed {
    match *op {
        System::Rdmsr => return msr::rdmsr(cur, regs),
        System::Wrmsr => return msr::wrmsr(cur, regs),
        System::ReadCr { cr, gpr } => {
            let value = read_cr(cur, cr)?;
            regs.set_gpr(gpr, value);
        }
        System::WriteCr { cr, gpr } => write_cr(cur, cr, regs.gpr(gpr))?,
        System::Clts => cur.cpu.set_ts_live(false),
        System::Lmsw { gpr } => {
            let cr0 = read_cr0(cur);
            write_cr(cur, 0, cr0 & !CR0_LMSW | regs.gpr(gpr) & CR0_LMSW)?;
        }
        System::ReadDr { dr, gpr } => {
            let value = cur.cpu.debugreg(dr as u64).map_err(|_| no_such_debug_register())?;
            regs.set_gpr(gpr, value);
        }
        System::WriteDr { dr, gpr } => write_dr(cur, dr, regs.gpr(gpr))?,
        // What a domain without devices has in the caches is no device's business.
        System::Invd | System::Wbinvd if !cur.domain().privileged => {}
        // Dropping what others wrote is for nobody: it is written back.
        System::Invd | System::Wbinvd => cpu::wbinvd(),
        System::Rdtsc => set_pair(regs, cpu::rdtsc()),
        System::Rdtscp => {
            set_pair(regs, cpu::rdtsc());
            regs.rcx = cur.cpu.tsc_aux();
        }
        System::Xsetbv => xsetbv(cur, regs)?,
        // Interrupts of a guest are masked in its vcpu_info; with I/O rights these do nothing, as on Xen.
        System::Cli | System::Sti if cur.cpu.iopl.load(Relaxed) >= 1 => {}
        System::Cli | System::Sti => return Err(Emulated::NotMine),
        System::Invlpg(mem) => {
            let addr = mem.address(regs, len, 0);
            if access_ok(addr, 1) {
                flush::flush_va_local(addr);
            }
        }
        System::ForcedCpuid => return Err(Emulated::NotMine),
    }
    Ok(Flow::Next)
}

/// Puts a value into EDX:EAX.
pub(super) fn set_pair(regs: &mut UserRegs, value: u64) {
    regs.rax = value & 0xffff_ffff;
    regs.rdx = value >> 32;
}

fn read_cr0(cur: &Vcpu) -> u64 {
    segment::read_cr0() & !CR0_TS | if cur.cpu.ts() { CR0_TS } else { 0 }
}

fn read_cr(cur: &Vcpu, cr: u8) -> Result<u64, Emulated> {
    match cr {
        0 => Ok(read_cr0(cur)),
        2 => Ok(domain::guest_cr2(cur)),
        3 => Ok(cur.hot.kernel_table.load(Relaxed) & !0xfff),
        4 => Ok(visible_cr4(cur.cpu.cr4.load(Relaxed))),
        _ => Err(Emulated::NotMine),
    }
}

fn write_cr(cur: &'static Vcpu, cr: u8, value: u64) -> Result<(), Emulated> {
    match cr {
        0 if (value ^ read_cr0(cur)) & !CR0_TS == 0 => cur.cpu.set_ts_live(value & CR0_TS != 0),
        2 => domain::set_guest_cr2(cur, value),
        // A table that has not been checked yet may be a large tree: the guest then executes the instruction again.
        3 => set_kernel_base(cur, Mfn(value >> 12), &mut Budget::limited()).map_err(|fail| match fail {
            Fail::Again => Emulated::Done,
            Fail::Errno(_) => Emulated::NotMine,
        })?,
        4 => cur.cpu.set_cr4_live(value & controllable_cr4()),
        _ => return Err(Emulated::NotMine),
    }
    Ok(())
}

/// The bits of CR4 that are the guest's own; others it asks for are dropped.
fn controllable_cr4() -> u64 {
    let mut bits = CR4_TSD | CR4_DE;
    if segment::has_fsgsbase() {
        bits |= CR4_FSGSBASE;
    }
    if fpu::xcr0_all() != 0 {
        bits |= CR4_OSXSAVE;
    }
    bits
}

fn visible_cr4(own: u64) -> u64 {
    own & controllable_cr4() | CR4_FIXED
}

fn no_such_debug_register() -> Emulated {
    Emulated::Inject {
        vector: vector::UD,
        error_code: None,
        cr2: None,
    }
}

fn write_dr(cur: &Vcpu, dr: u8, value: u64) -> Result<(), Emulated> {
    if matches!(dr, 4 | 5) && cur.cpu.cr4.load(Relaxed) & CR4_DE != 0 {
        return Err(no_such_debug_register());
    }
    cur.cpu
        .set_debugreg(dr as u64, value, true)
        .map_err(|_| Emulated::NotMine)
}

fn xsetbv(cur: &Vcpu, regs: &UserRegs) -> Result<(), Emulated> {
    let value = regs.rax & 0xffff_ffff | regs.rdx << 32;
    if regs.rcx as u32 != 0 {
        return Err(Emulated::NotMine);
    }
    cur.cpu.fpu.set_xcr0_live(value).map_err(|_| Emulated::NotMine)
}
