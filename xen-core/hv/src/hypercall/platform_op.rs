//! `platform_op`: Dom0's control of the machine.

use super::{Outcome, Stop};
use crate::arch::x86::{apic, power, smp};
use crate::boot;
use crate::domain::Vcpu;
use crate::guest::GuestPtr;
use crate::mm;
use crate::time;
use xen_abi::*;
use xen_logic::e820::Kind;

/// Where BIOS keeps the state of the keyboard's shift keys.
const BIOS_KEYBOARD_FLAGS: u64 = 0x417;

/// The hypercall: a pointer to the operation with its structure.
pub fn platform_op(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    if !cur.domain().privileged {
        return Err(Errno::EPERM.into());
    }
    let at = GuestPtr::<xen_platform_op>::new(args[0]);
    let mut op = at.read()?;
    if op.interface_version != XENPF_INTERFACE_VERSION {
        return Err(Errno::EACCES.into());
    }
    match op.cmd {
        XENPF_settime32 => {
            let t: xenpf_settime32 = op.payload();
            set_time(t.secs as u64, t.nsecs, t.system_time);
        }
        XENPF_settime64 => {
            let t: xenpf_settime64 = op.payload();
            if t.mbz != 0 {
                return Err(Errno::EINVAL.into());
            }
            set_time(t.secs, t.nsecs, t.system_time);
        }
        XENPF_firmware_info => {
            let mut info: xenpf_firmware_info = op.payload();
            firmware_info(&mut info)?;
            op.set_payload(&info);
            at.write(&op)?;
        }
        XENPF_enter_acpi_sleep => enter_sleep(&op.payload())?,
        XENPF_set_processor_pminfo => processor_info(&op.payload())?,
        XENPF_get_cpuinfo => {
            let mut info: xenpf_pcpuinfo = op.payload();
            cpu_info(&mut info);
            op.set_payload(&info);
            at.write(&op)?;
        }
        _ => return Err(unknown(op.cmd)),
    }
    Ok(0)
}

/// Operations that are not there: named in the log, once in a while.
fn unknown(cmd: u32) -> Stop {
    // Linux asks for EFI's clock and variables on every machine that it believes to have them.
    if cmd != XENPF_efi_runtime_call {
        crate::console::limited!(log::Level::Warn, "platform_op {} is not implemented", cmd);
    }
    Errno::ENOSYS.into()
}

/// It was `secs` and `nsecs` after 1970 when the system time was `system_time`.
fn set_time(secs: u64, nsecs: u32, system_time: u64) {
    const SECOND: u32 = 1_000_000_000;
    // More than a second of them is taken, as Xen does.
    let secs = secs.saturating_add(u64::from(nsecs / SECOND));
    time::set_wallclock(secs, nsecs % SECOND, system_time);
}

/// What BIOS said at boot. The hypervisor does not ask it for disks and displays: there is none to tell of.
fn firmware_info(info: &mut xenpf_firmware_info) -> Result<(), Errno> {
    match info.typ {
        XEN_FW_DISK_INFO | XEN_FW_DISK_MBR_SIGNATURE | XEN_FW_VBEDDC_INFO => Err(Errno::ESRCH),
        XEN_FW_KBD_SHIFT_FLAGS if info.index != 0 => Err(Errno::ESRCH),
        XEN_FW_KBD_SHIFT_FLAGS => {
            // Some firmware keeps the first page to itself: then the direct map has it not, and no key is held.
            let is_mapped = boot::memory_map().covers(0, mm::layout::PAGE_SIZE, Kind::RAM);
            let flags = if is_mapped {
                // SAFETY: the BIOS data area is in the first page, which is RAM and so in the direct map.
                unsafe { mm::directmap(BIOS_KEYBOARD_FLAGS).read_volatile() }
            } else {
                0
            };
            info.u[0] = info.u[0] & !0xff | flags as u64;
            Ok(())
        }
        // No EFI.
        XEN_FW_EFI_INFO => Err(Errno::ENOSYS),
        _ => Err(Errno::EINVAL),
    }
}

/// Only switching off: there is no way to sleep and wake.
fn enter_sleep(sleep: &xenpf_enter_acpi_sleep) -> Result<(), Errno> {
    if sleep.sleep_state != 5 || sleep.flags & XENPF_ACPI_SLEEP_EXTENDED != 0 {
        return Err(Errno::EINVAL);
    }
    log::info!("hardware domain powers off");
    power::enter_s5(sleep.val_a, sleep.val_b);
    Err(Errno::EIO)
}

/// Dom0's ACPI code passes on what the processors can do to save power. It is not used: idle CPUs halt.
fn processor_info(info: &xenpf_set_processor_pminfo) -> Result<(), Errno> {
    match info.typ {
        XEN_PM_CX | XEN_PM_PX | XEN_PM_PDC => Ok(()),
        XEN_PM_TX => Err(Errno::ENOSYS),
        _ => Err(Errno::EINVAL),
    }
}

/// Tells of a CPU of the machine.
fn cpu_info(info: &mut xenpf_pcpuinfo) {
    let count = smp::cpu_count() as u32;
    info.max_present = count - 1;
    if info.xen_cpuid < count {
        let cpu = info.xen_cpuid as usize;
        info.flags = XEN_PCPU_FLAGS_ONLINE;
        info.apic_id = apic::id_of(cpu);
        info.acpi_id = smp::acpi_id(cpu);
    } else {
        info.flags = XEN_PCPU_FLAGS_INVALID;
    }
}
