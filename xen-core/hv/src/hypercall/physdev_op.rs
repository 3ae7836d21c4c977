//! `physdev_op`: pirqs, I/O privilege, and what Dom0 tells of PCI devices.

use super::{Outcome, Stop};
use crate::arch::x86::ioapic;
use crate::domain::{self, Domain, Vcpu};
use crate::guest::{GuestPtr, Wire, access_ok};
use crate::irq::{self, gsi};
use crate::mm::frame::Mfn;
use core::sync::atomic::Ordering::Relaxed;
use xen_abi::*;
use xen_logic::interrupt_line::{Polarity, Trigger};
use xen_logic::pci::Sbdf;

use crate::irq::domain::Message;

/// Most messages of one MSI capability.
const MAX_MESSAGES: i32 = 32;

/// The hypercall: operation, and a pointer to its structure.
pub fn physdev_op(cur: &'static Vcpu, args: &[u64; 6]) -> Outcome {
    let (op, arg) = (args[0] as u32, args[1]);
    let domain = cur.domain();
    match op {
        PHYSDEVOP_eoi => irq::eoi_pirq(domain, read::<physdev_eoi>(arg)?.irq)?,
        PHYSDEVOP_irq_status_query => query_status(domain, GuestPtr::new(arg))?,
        PHYSDEVOP_set_iopl => set_iopl(cur, read(arg)?)?,
        PHYSDEVOP_set_iobitmap => set_io_bitmap(cur, read(arg)?)?,
        PHYSDEVOP_pirq_eoi_gmfn_v2 => {
            irq::domain::set_eoi_page(domain, Mfn(read::<physdev_pirq_eoi_gmfn>(arg)?.gmfn))?;
        }
        PHYSDEVOP_get_free_pirq => get_free_pirq(domain, GuestPtr::new(arg))?,
        _ if !known_for_dom0(op) => return Err(unknown(op)),
        _ if !domain.privileged => return Err(Errno::EPERM.into()),
        _ => privileged(domain, op, arg)?,
    }
    Ok(0)
}

/// The operations that [`privileged`] serves.
fn known_for_dom0(op: u32) -> bool {
    matches!(
        op,
        PHYSDEVOP_apic_read
            | PHYSDEVOP_alloc_irq_vector
            | PHYSDEVOP_free_irq_vector
            | PHYSDEVOP_map_pirq
            | PHYSDEVOP_unmap_pirq
            | PHYSDEVOP_setup_gsi
            | PHYSDEVOP_manage_pci_add
            | PHYSDEVOP_manage_pci_add_ext
            | PHYSDEVOP_manage_pci_remove
            | PHYSDEVOP_pci_device_add
            | PHYSDEVOP_pci_device_remove
            | PHYSDEVOP_pci_mmcfg_reserved
            | PHYSDEVOP_restore_msi
            | PHYSDEVOP_restore_msi_ext
            | PHYSDEVOP_prepare_msix
            | PHYSDEVOP_release_msix
    )
}

fn privileged(domain: &Domain, op: u32, arg: u64) -> Result<(), Errno> {
    match op {
        PHYSDEVOP_apic_read => read_ioapic(GuestPtr::new(arg)),
        PHYSDEVOP_alloc_irq_vector => alloc_vector(GuestPtr::new(arg)),
        // Vectors are the hypervisor's affair; there is nothing to give back.
        PHYSDEVOP_free_irq_vector => read::<physdev_irq>(arg).map(drop),
        PHYSDEVOP_map_pirq => map_pirq(domain, GuestPtr::new(arg)),
        PHYSDEVOP_unmap_pirq => unmap_pirq(domain, read(arg)?),
        PHYSDEVOP_setup_gsi => setup_gsi(domain, read(arg)?),
        PHYSDEVOP_manage_pci_add => irq::add_function(old_function(read(arg)?)),
        PHYSDEVOP_manage_pci_add_ext => {
            let add: physdev_manage_pci_ext = read(arg)?;
            irq::add_function(Sbdf::new(0, add.bus, add.devfn))
        }
        PHYSDEVOP_manage_pci_remove => irq::remove_function(old_function(read(arg)?)),
        PHYSDEVOP_pci_device_add => {
            let add: physdev_pci_device_add = read(arg)?;
            irq::add_function(Sbdf::new(add.seg, add.bus, add.devfn))
        }
        PHYSDEVOP_pci_device_remove => irq::remove_function(function(read(arg)?)),
        PHYSDEVOP_pci_mmcfg_reserved => check_mmcfg(read(arg)?),
        PHYSDEVOP_restore_msi => {
            let restore: physdev_restore_msi = read(arg)?;
            irq::restore_messages(Sbdf::new(0, restore.bus, restore.devfn))
        }
        PHYSDEVOP_restore_msi_ext => irq::restore_messages(function(read(arg)?)),
        _ => irq::prepare_msix(function(read(arg)?), op == PHYSDEVOP_prepare_msix),
    }
}

fn read<T: Wire>(arg: u64) -> Result<T, Errno> {
    GuestPtr::new(arg).read()
}

fn function(device: physdev_pci_device) -> Sbdf {
    Sbdf::new(device.seg, device.bus, device.devfn)
}

fn old_function(device: physdev_manage_pci) -> Sbdf {
    Sbdf::new(0, device.bus, device.devfn)
}

/// Operations that Linux 6.1 does without: named in the log, once in a while.
fn unknown(op: u32) -> Stop {
    crate::console::limited!(log::Level::Warn, "physdev_op {} is not implemented", op);
    Errno::ENOSYS.into()
}

fn query_status(domain: &Domain, at: GuestPtr<physdev_irq_status_query>) -> Result<(), Errno> {
    let mut query = at.read()?;
    let (needs_eoi, shared) = irq::domain::status(domain, query.irq)?;
    query.flags = if needs_eoi { XENIRQSTAT_needs_eoi } else { 0 } | if shared { XENIRQSTAT_shared } else { 0 };
    at.write(&query)
}

fn set_iopl(cur: &Vcpu, arg: physdev_set_iopl) -> Result<(), Errno> {
    if arg.iopl > 3 {
        return Err(Errno::EINVAL);
    }
    cur.cpu.iopl.store(arg.iopl, Relaxed);
    Ok(())
}

/// The bitmap stays in the guest; the emulation of I/O instructions reads the bits of a port when it is used.
fn set_io_bitmap(cur: &Vcpu, arg: physdev_set_iobitmap) -> Result<(), Errno> {
    if arg.nr_ports > 65536 || !access_ok(arg.bitmap, arg.nr_ports.div_ceil(8) as u64) {
        return Err(Errno::EINVAL);
    }
    cur.cpu.io_bitmap.store(arg.bitmap, Relaxed);
    cur.cpu.io_bitmap_ports.store(arg.nr_ports, Relaxed);
    Ok(())
}

fn get_free_pirq(domain: &Domain, at: GuestPtr<physdev_get_free_pirq>) -> Result<(), Errno> {
    let mut arg = at.read()?;
    let message = match arg.typ {
        MAP_PIRQ_TYPE_GSI => false,
        MAP_PIRQ_TYPE_MSI | MAP_PIRQ_TYPE_MSI_SEG | MAP_PIRQ_TYPE_MULTI_MSI => true,
        _ => return Err(Errno::EINVAL),
    };
    arg.pirq = irq::domain::free_pirq(domain, message)?;
    at.write(&arg)
}

fn read_ioapic(at: GuestPtr<physdev_apic>) -> Result<(), Errno> {
    let mut arg = at.read()?;
    arg.value = ioapic::read_register(arg.apic_physbase, arg.reg).ok_or(Errno::EINVAL)?;
    at.write(&arg)
}

/// Dom0 asks for a vector before it uses a line. It has no use for the number.
fn alloc_vector(at: GuestPtr<physdev_irq>) -> Result<(), Errno> {
    let mut arg = at.read()?;
    if arg.irq >= gsi::count() {
        return Err(Errno::EINVAL);
    }
    arg.vector = arg.irq;
    at.write(&arg)
}

/// The domain that an operation names.
fn with_target<R>(domain: &Domain, id: u16, run: impl FnOnce(&Domain) -> Result<R, Errno>) -> Result<R, Errno> {
    if id == DOMID_SELF || id == domain.id {
        return run(domain);
    }
    run(&*domain::find(id).ok_or(Errno::ESRCH)?)
}

fn map_pirq(domain: &Domain, at: GuestPtr<physdev_map_pirq>) -> Result<(), Errno> {
    let mut arg = at.read()?;
    let wanted = u32::try_from(arg.pirq).ok();
    let pirq = with_target(domain, arg.domid, |target| match arg.typ {
        MAP_PIRQ_TYPE_GSI => {
            let gsi = u32::try_from(arg.index).map_err(|_| Errno::EINVAL)?;
            irq::domain::map_gsi(domain, target, gsi, wanted)
        }
        MAP_PIRQ_TYPE_MSI | MAP_PIRQ_TYPE_MSI_SEG | MAP_PIRQ_TYPE_MULTI_MSI => {
            let (at, message) = wanted_message(&arg)?;
            irq::add_function(at)?;
            irq::domain::map_message(target, at, message, wanted)
        }
        _ => Err(Errno::EINVAL),
    })?;
    arg.pirq = pirq as i32;
    at.write(&arg)
}

/// Which message interrupt a `map_pirq` means.
fn wanted_message(arg: &physdev_map_pirq) -> Result<(Sbdf, Message), Errno> {
    let seg = if arg.typ == MAP_PIRQ_TYPE_MSI {
        0
    } else {
        (arg.bus >> 16) as u16
    };
    let at = Sbdf::new(seg, arg.bus as u8, arg.devfn as u8);
    if arg.typ == MAP_PIRQ_TYPE_MULTI_MSI {
        return match arg.entry_nr {
            count @ 1..=MAX_MESSAGES => Ok((at, Message::Msi(count as u8))),
            _ => Err(Errno::EDOM),
        };
    }
    if arg.table_base == 0 {
        return Ok((at, Message::Msi(1)));
    }
    let entry = u16::try_from(arg.entry_nr).map_err(|_| Errno::EINVAL)?;
    Ok((at, Message::Msix(entry, arg.table_base)))
}

fn unmap_pirq(domain: &Domain, arg: physdev_unmap_pirq) -> Result<(), Errno> {
    let pirq = u32::try_from(arg.pirq).map_err(|_| Errno::EINVAL)?;
    with_target(domain, arg.domid, |target| irq::domain::unmap(target, pirq))
}

fn setup_gsi(domain: &Domain, arg: physdev_setup_gsi) -> Result<(), Errno> {
    let gsi = u32::try_from(arg.gsi).map_err(|_| Errno::EINVAL)?;
    let trigger = if arg.triggering == 0 {
        Trigger::Edge
    } else {
        Trigger::Level
    };
    let polarity = if arg.polarity == 0 {
        Polarity::High
    } else {
        Polarity::Low
    };
    irq::set_gsi_mode(domain, gsi, trigger, polarity)
}

/// Dom0 has found a configuration window reserved. Those of the MCFG table are used from the start; others are
/// not taken.
fn check_mmcfg(arg: physdev_pci_mmcfg_reserved) -> Result<(), Errno> {
    let known = crate::arch::x86::pci_config::windows().iter().any(|w| {
        (w.base, w.seg) == (arg.address, arg.segment) && w.first_bus <= arg.start_bus && arg.end_bus <= w.last_bus
    });
    if known { Ok(()) } else { Err(Errno::ENODEV) }
}
