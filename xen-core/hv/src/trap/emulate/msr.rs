//! `rdmsr` and `wrmsr`: what `xen_logic::msr` says, done.

use super::control::set_pair;
use super::{Emulated, Executed, Flow};
use crate::arch::x86::regs::UserRegs;
use crate::arch::x86::{cpu, guest_tsc, segment};
use crate::cpuid;
use crate::domain::{Domain, Vcpu};
use crate::mm::frame::{self, Type};
use crate::mm::{Mfn, logdirty};
use crate::sync::Once;
use core::sync::atomic::Ordering::Relaxed;
use xen_abi::Errno;
use xen_logic::hypercall_page;
use xen_logic::msr::{self, EFER_SHOWN, GuestReg, Read, Viewer, Write};

const EFER: u32 = 0xc000_0080;
const VENDOR_AMD: u32 = u32::from_le_bytes(*b"Auth");
const VENDOR_HYGON: u32 = u32::from_le_bytes(*b"Hygo");

/// `rdmsr` of a segment base; false for other registers, with nothing done. Linux reads the inactive GS base at each
/// change of process, so this comes before anything else.
#[inline]
pub(super) fn read_base(regs: &mut UserRegs) -> bool {
    let value = match msr::segment_base(regs.rcx as u32) {
        Some(GuestReg::FsBase) => segment::fs_base(),
        Some(GuestReg::GsBase) => segment::gs_base(),
        Some(GuestReg::ShadowGsBase) => segment::shadow_gs_base(),
        _ => return false,
    };
    set_pair(regs, value);
    true
}

/// `rdmsr`.
pub(super) fn rdmsr(cur: &Vcpu, regs: &mut UserRegs) -> Executed {
    let nr = regs.rcx as u32;
    let value = read(cur, nr, regs.rip)?;
    set_pair(regs, value);
    Ok(Flow::Next)
}

/// `wrmsr`.
pub(super) fn wrmsr(cur: &'static Vcpu, regs: &mut UserRegs) -> Executed {
    let nr = regs.rcx as u32;
    let value = regs.rax & 0xffff_ffff | regs.rdx << 32;
    match msr::write(nr, value, &viewer(cur)) {
        Write::Ignore => {}
        Write::IfSame if read(cur, nr, regs.rip)? == value => {}
        Write::IfSame => return Err(refused_write(cur, nr, value, regs.rip)),
        Write::Machine(mask) if value & !mask != 0 => return Err(Emulated::NotMine),
        Write::Machine(_) => {
            // SAFETY: the policy lets such writes through only to registers whose every allowed value is harmless.
            if !unsafe { segment::wrmsr_safe(nr, value) } {
                return Err(Emulated::NotMine);
            }
        }
        Write::Guest(reg) => write_guest(cur, reg, value),
        Write::HypercallPage(gfn) => {
            fill_hypercall_page(cur.domain(), gfn).map_err(|_| Emulated::NotMine)?;
        }
        Write::Fault { known: true } => return Err(Emulated::NotMine),
        Write::Fault { known: false } => return Err(refused_write(cur, nr, value, regs.rip)),
    }
    Ok(Flow::Next)
}

/// Writes the stubs of hypercalls into a frame that the domain can write to.
///
/// # Errors
/// As [`frame::get_page_type`].
pub fn fill_hypercall_page(domain: &Domain, mfn: u64) -> Result<(), Errno> {
    let frame = frame::get_page_type(Mfn(mfn), domain, Type::Writable)?;
    let mut page = [0; 4096];
    hypercall_page::fill(&mut page);
    for (index, word) in page.as_chunks().0.iter().enumerate() {
        frame.info().word(index).store(u64::from_le_bytes(*word), Relaxed);
    }
    logdirty::touched(frame.info());
    Ok(())
}

fn refused_write(cur: &Vcpu, nr: u32, value: u64, rip: u64) -> Emulated {
    crate::console::limited!(
        log::Level::Debug,
        "d{}v{} may not write {value:#x} to MSR {nr:#x} at {rip:#x}",
        cur.domain().id,
        cur.id
    );
    Emulated::NotMine
}

/// What the guest finds in the register.
fn read(cur: &Vcpu, nr: u32, rip: u64) -> Result<u64, Emulated> {
    match msr::read(nr, &viewer(cur)) {
        Read::Value(value) => Ok(value),
        Read::Machine(mask) => segment::rdmsr_safe(nr).map(|v| v & mask).ok_or(Emulated::NotMine),
        Read::Efer => segment::rdmsr_safe(EFER)
            .map(|v| v & EFER_SHOWN)
            .ok_or(Emulated::NotMine),
        Read::Guest(reg) => Ok(read_guest(cur, reg)),
        Read::Fault { known } => {
            if !known {
                crate::console::limited!(
                    log::Level::Debug,
                    "d{}v{} may not read MSR {nr:#x} at {rip:#x}",
                    cur.domain().id,
                    cur.id
                );
            }
            Err(Emulated::NotMine)
        }
    }
}

/// The caller is the vcpu that runs here, so its bases are in the processor.
fn read_guest(cur: &Vcpu, reg: GuestReg) -> u64 {
    match reg {
        GuestReg::FsBase => segment::fs_base(),
        GuestReg::GsBase => segment::gs_base(),
        GuestReg::ShadowGsBase => segment::shadow_gs_base(),
        GuestReg::TscAux => cur.cpu.tsc_aux(),
        GuestReg::Tsc => cpu::rdtsc(),
    }
}

fn write_guest(cur: &Vcpu, reg: GuestReg, value: u64) {
    match reg {
        GuestReg::FsBase => segment::set_fs_base(value),
        GuestReg::GsBase => segment::set_gs_base(value),
        GuestReg::ShadowGsBase => segment::set_shadow_gs_base(value),
        GuestReg::TscAux => cur.cpu.set_tsc_aux_live(value as u32),
        GuestReg::Tsc => {}
    }
}

/// What of the machine the policy depends on.
struct Machine {
    amd: bool,
    arch_capabilities: bool,
    prediction_barrier: bool,
    tsc_aux: bool,
    machine_check: bool,
}

static MACHINE: Once<Machine> = Once::new();

fn machine() -> &'static Machine {
    const MCE_MCA: u32 = 1 << 7 | 1 << 14;
    MACHINE.call_once(|| {
        let (basic, extended) = (cpuid::raw(0, 0), cpuid::raw(0x8000_0000, 0).a);
        let seven = if basic.a >= 7 {
            cpuid::raw(7, 0)
        } else {
            Default::default()
        };
        let amd_barrier = extended >= 0x8000_0008 && cpuid::raw(0x8000_0008, 0).b & 1 << 12 != 0;
        Machine {
            amd: matches!(basic.b, VENDOR_AMD | VENDOR_HYGON),
            arch_capabilities: seven.d & 1 << 29 != 0,
            prediction_barrier: amd_barrier,
            tsc_aux: guest_tsc::has_tsc_aux(),
            machine_check: cpuid::raw(1, 0).d & MCE_MCA == MCE_MCA,
        }
    })
}

/// The machine's `IA32_ARCH_CAPABILITIES`; 0 where there is none.
pub fn arch_capabilities() -> u64 {
    const ARCH_CAPABILITIES: u32 = 0x10a;
    let shown = machine().arch_capabilities;
    shown
        .then(|| segment::rdmsr_safe(ARCH_CAPABILITIES))
        .flatten()
        .unwrap_or(0)
}

fn viewer(cur: &Vcpu) -> Viewer {
    let machine = machine();
    Viewer {
        hardware_domain: cur.domain().privileged,
        boot_vcpu: cur.id == 0,
        amd: machine.amd,
        arch_capabilities: machine.arch_capabilities,
        prediction_barrier: machine.prediction_barrier,
        tsc_aux: machine.tsc_aux,
        machine_check: machine.machine_check,
    }
}
