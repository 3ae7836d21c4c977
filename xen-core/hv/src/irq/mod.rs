//! Device interrupts and what else of the machine's devices the hypervisor keeps or hands out.
//!
//! A virtio disk's message arrives at [`dispatch`], which looks up the vector's line ([`line`]) and sends the
//! pirq's event to each domain that has bound it ([`domain`]). Lines come from IO-APIC pins ([`gsi`]) or from
//! messages of PCI functions ([`device`], [`msi`]).

mod device;
pub mod domain;
pub mod gsi;
mod line;
mod msi;
mod permission;

pub use domain::{DomainIrqs, bind_pirq, eoi_pirq, held_frames, release, set_pirq_affinity, unbind_pirq};
pub use line::dispatch;
pub use permission::{
    Kind as PermissionKind, each_denied_iomem, iomem_permitted, ioport_permitted, mmio_read_only, permit, reserve_ports,
};

use crate::arch::x86::{ioapic, pci_config};
use crate::domain::Domain;
use crate::sync::Once;
use xen_abi::Errno;
use xen_logic::acpi::{EcamRange, Fadt, Madt};
use xen_logic::interrupt_line::{Polarity, Trigger};
use xen_logic::pci::Sbdf;

/// What the firmware says of the machine, as far as this module wants it.
pub struct Firmware<'a> {
    /// Interrupt controllers.
    pub madt: &'a Madt,
    /// Power management.
    pub fadt: Option<&'a Fadt>,
    /// Memory-mapped configuration space.
    pub mcfg: &'a [EcamRange],
    /// Machine address of the HPET.
    pub hpet: Option<u64>,
}

/// What is asked for later.
struct Kept {
    pm_timer: Option<(u16, u8)>,
    hpet_frame: Option<u64>,
}

static KEPT: Once<Kept> = Once::new();

/// Starts the IO-APICs with every pin masked, silences the 8259s, and sets up what domains may touch.
///
/// Called once, with a heap and a working `map_vmap`, before the first domain is made.
pub fn init(firmware: &Firmware) {
    KEPT.call_once(|| Kept {
        pm_timer: firmware
            .fadt
            .filter(|f| f.pm_timer != 0)
            .map(|f| (f.pm_timer, if f.pm_timer_wide { 4 } else { 3 })),
        hpet_frame: firmware.hpet.map(|address| address >> 12),
    });
    pci_config::init(firmware.mcfg);
    ioapic::init(&firmware.madt.ioapics);
    gsi::init(&firmware.madt.overrides);
    permission::init(firmware.madt.lapic_address);
}

/// Port and width of the power management timer.
fn pm_timer() -> Option<(u16, u8)> {
    KEPT.get().and_then(|k| k.pm_timer)
}

/// The HPET's frame.
fn hpet_frame() -> Option<u64> {
    KEPT.get().and_then(|k| k.hpet_frame)
}

/// Gives the line of an ISA interrupt to the hypervisor itself: `handler` runs with interrupts off.
///
/// # Errors
/// As [`gsi::request`].
pub fn request_hv_isa(irq: u8, handler: fn()) -> Result<(), Errno> {
    gsi::request(gsi::of_isa(irq), handler)
}

/// Says how a line's signal looks (`PHYSDEVOP_setup_gsi`).
///
/// # Errors
/// `EINVAL` for no such line, `EEXIST` while somebody uses it.
pub(crate) fn set_gsi_mode(domain: &Domain, gsi: u32, trigger: Trigger, polarity: Polarity) -> Result<(), Errno> {
    gsi::set_mode(gsi, trigger, polarity)?;
    domain::mode_changed(domain, gsi);
    Ok(())
}

/// Dom0 tells of a PCI function.
///
/// # Errors
/// `ENODEV` for a segment that cannot be reached, `ENOSPC` for too many functions.
pub(crate) fn add_function(at: Sbdf) -> Result<(), Errno> {
    device::add(at)
}

/// Has Dom0 told of a PCI function?
pub(crate) fn has_function(at: Sbdf) -> bool {
    device::is_known(at)
}

/// Dom0 says that a PCI function has gone.
///
/// # Errors
/// `ENODEV` for an unknown one; `EBUSY` while its interrupts are mapped.
pub(crate) fn remove_function(at: Sbdf) -> Result<(), Errno> {
    device::remove(at)
}

/// Writes a function's message interrupts again.
///
/// # Errors
/// `ENODEV` for an unknown function, `ENXIO` if its memory does not answer.
pub(crate) fn restore_messages(at: Sbdf) -> Result<(), Errno> {
    device::restore(at)
}

/// Announces that a function's MSI-X table stays where it is (`prepare`), or may move again.
///
/// # Errors
/// `ENODEV` for an unknown function or one without MSI-X, `EBUSY` while it is in use.
pub(crate) fn prepare_msix(at: Sbdf, prepare: bool) -> Result<(), Errno> {
    device::prepare_msix(at, prepare)
}

/// Reads `len` bytes (1 to 4) of a function's configuration space, for a domain that has the right to.
///
/// All ones for what is not there.
pub fn pci_config_read(seg: u16, bus: u8, devfn: u8, reg: u16, len: u8) -> u32 {
    let at = Sbdf::new(seg, bus, devfn);
    let mut value = 0;
    for (reg, len, shift) in aligned_parts(reg, len) {
        value |= pci_config::read(at, reg, len) << shift;
    }
    value
}

/// Writes `len` bytes (1 to 4) of a function's configuration space, for a domain that has the right to.
///
/// What would set address or data of a message interrupt does not reach the device.
pub fn pci_config_write(seg: u16, bus: u8, devfn: u8, reg: u16, len: u8, value: u32) {
    let at = Sbdf::new(seg, bus, devfn);
    for (reg, len, shift) in aligned_parts(reg, len) {
        device::write_config(at, reg, len, value >> shift);
    }
}

/// Cuts an access into aligned ones of 1, 2 or 4 bytes, each with its shift, that stay in configuration space.
fn aligned_parts(reg: u16, len: u8) -> impl Iterator<Item = (u16, u8, u32)> {
    let whole = matches!(len, 1 | 2 | 4) && reg.is_multiple_of(len as u16);
    let (size, count) = if whole { (len, 1) } else { (1, len.min(4)) };
    (0..count)
        .map(move |i| (reg.saturating_add(i as u16), size, 8 * i as u32))
        .filter(|(reg, ..)| *reg < 4096)
}

/// The hardware domain wrote to device memory that it may only map read-only: `len` bytes (1 to 8) at `maddr`.
///
/// Configuration space takes the write as the ports do; an MSI-X table or the HPET does not hear of it.
pub fn mmio_write(maddr: u64, len: u8, value: u64) {
    let Some((at, reg)) = pci_config::decode_address(maddr) else {
        return;
    };
    pci_config_write(at.seg, at.bus, at.devfn, reg, len.min(4), value as u32);
    if len > 4 {
        pci_config_write(
            at.seg,
            at.bus,
            at.devfn,
            reg.saturating_add(4),
            len - 4,
            (value >> 32) as u32,
        );
    }
}
