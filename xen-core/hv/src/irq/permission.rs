//! What a domain may touch of the machine: I/O ports, device memory, interrupt lines.

use super::{gsi, hpet_frame};
use crate::arch::x86::{ioapic, pci_config};
use crate::domain::Domain;
use crate::mm::frame::Mfn;
use crate::sync::RwLock;
use xen_abi::Errno;
use xen_logic::interrupt_line::{MSI_WINDOW, MSI_WINDOW_LAST};
use xen_logic::port_policy::dom0_ports;
use xen_logic::rangeset::RangeSet;

/// The three sets of one domain.
pub(super) struct Permissions {
    ports: RwLock<RangeSet>,
    frames: RwLock<RangeSet>,
    irqs: RwLock<RangeSet>,
}

/// What a permission is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// I/O ports.
    Ports,
    /// Frames of device memory.
    Frames,
    /// Interrupt lines.
    Irqs,
}

/// Device frames that domains may map read-only at most: configuration space, MSI-X tables, the HPET.
static READ_ONLY: RwLock<RangeSet> = RwLock::new(RangeSet::new());

/// Device frames that no domain may map, ever: local APICs and IO-APICs.
static DENIED: RwLock<RangeSet> = RwLock::new(RangeSet::new());

/// Ports that the hypervisor has for itself on this machine: the console's.
static RESERVED_PORTS: RwLock<RangeSet> = RwLock::new(RangeSet::new());

/// First frame number beyond what page-table entries can name.
const FRAMES_END: u64 = 1 << 40;

impl Permissions {
    /// None for an ordinary domain; for the hardware domain all but what is the hypervisor's own.
    pub(super) fn new(hardware: bool) -> Self {
        let (mut ports, mut frames, mut irqs) = (RangeSet::new(), RangeSet::new(), RangeSet::new());
        if hardware {
            ports = dom0_ports(super::pm_timer());
            for (first, last) in RESERVED_PORTS.read().iter() {
                ports.remove(first, last);
            }
            frames.insert(0, FRAMES_END - 1);
            for (first, last) in DENIED.read().iter() {
                frames.remove(first, last);
            }
            // Line 0 is the interval timer's.
            irqs.insert(1, gsi::count().max(2) as u64 - 1);
        }
        Self {
            ports: RwLock::new(ports),
            frames: RwLock::new(frames),
            irqs: RwLock::new(irqs),
        }
    }

    fn of(&self, kind: Kind) -> &RwLock<RangeSet> {
        match kind {
            Kind::Ports => &self.ports,
            Kind::Frames => &self.frames,
            Kind::Irqs => &self.irqs,
        }
    }

    /// May the domain have this interrupt line?
    pub(super) fn has_irq(&self, gsi: u32) -> bool {
        self.irqs.read().contains(gsi as u64)
    }
}

/// Most ranges in a set: each takes memory, and a device has a few.
const MAX_RANGES: usize = 1024;

/// Lets `to` use `first..=last` (`allow`), or no longer, by the word of `giver`
/// (`XEN_DOMCTL_{ioport,iomem,irq}_permission`). What is mapped or bound already stays so.
///
/// # Errors
/// `EINVAL` for an empty range, `EPERM` for what `giver` may not use itself, `ENOSPC` for too many ranges.
pub fn permit(giver: &Domain, to: &Domain, kind: Kind, (first, last): (u64, u64), allow: bool) -> Result<(), Errno> {
    if last < first {
        return Err(Errno::EINVAL);
    }
    if !giver.irqs.permissions.of(kind).read().contains_range(first, last) {
        return Err(Errno::EPERM);
    }
    let mut set = to.irqs.permissions.of(kind).write();
    if set.iter().count() >= MAX_RANGES {
        return Err(Errno::ENOSPC);
    }
    if allow {
        set.insert(first, last);
    } else {
        set.remove(first, last);
    }
    Ok(())
}

/// Sets up what holds for every domain; the IO-APICs and configuration windows are known.
pub(super) fn init(local_apic: u64) {
    let mut denied = DENIED.write();
    denied.insert(MSI_WINDOW >> 12, MSI_WINDOW_LAST >> 12);
    denied.insert(local_apic >> 12, local_apic >> 12);
    for address in ioapic::addresses() {
        denied.insert(address >> 12, address >> 12);
    }
    drop(denied);
    let mut read_only = READ_ONLY.write();
    for window in pci_config::windows() {
        let (first, last) = window.bounds();
        read_only.insert(first >> 12, last >> 12);
    }
    if let Some(frame) = hpet_frame() {
        read_only.insert(frame, frame);
    }
}

/// Keeps I/O ports from domains that are made from now on.
pub fn reserve_ports(first: u16, last: u16) {
    RESERVED_PORTS.write().insert(first as u64, last as u64);
}

/// Keeps domains from mapping these frames writable.
pub(super) fn guard_frames(first: u64, last: u64) {
    READ_ONLY.write().insert(first, last);
}

/// Ends [`guard_frames`]; what is guarded for good stays so.
pub(super) fn unguard_frames(first: u64, last: u64) {
    let mut read_only = READ_ONLY.write();
    read_only.remove(first, last);
    for window in pci_config::windows() {
        let (first, last) = window.bounds();
        read_only.insert(first >> 12, last >> 12);
    }
    if let Some(frame) = hpet_frame() {
        read_only.insert(frame, frame);
    }
}

/// Is the frame one that no domain may map?
pub(super) fn is_denied(mfn: u64) -> bool {
    DENIED.read().contains(mfn)
}

/// May the domain use `len` I/O ports from `port` on?
pub fn ioport_permitted(domain: &Domain, port: u16, len: u8) -> bool {
    let last = port as u64 + len.max(1) as u64 - 1;
    domain.irqs.permissions.ports.read().contains_range(port as u64, last)
}

/// May the domain map this frame, which is not RAM?
pub fn iomem_permitted(domain: &Domain, mfn: Mfn) -> bool {
    domain.irqs.permissions.frames.read().contains(mfn.0)
}

/// Must every mapping of this frame, which is not RAM, be read-only? Writes then come to [`super::mmio_write`].
pub fn mmio_read_only(mfn: Mfn) -> bool {
    READ_ONLY.read().contains(mfn.0)
}

/// Calls `visit` with each run of frames in `first..=last` that the domain may not map, ascending.
pub fn each_denied_iomem(domain: &Domain, first: Mfn, last: Mfn, mut visit: impl FnMut(Mfn, Mfn)) {
    for (a, b) in domain.irqs.permissions.frames.read().gaps(first.0, last.0) {
        visit(Mfn(a), Mfn(b));
    }
}
