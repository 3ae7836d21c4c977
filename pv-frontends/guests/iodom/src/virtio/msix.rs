//! Message interrupts as event channels: the hypervisor owns the MSI-X table and hands out pirqs for its entries.
use guest_rt::{hypercall, ports};
use virtio_drivers::transport::pci::bus::{BarInfo, ConfigurationAccess, DeviceFunction, PciRoot};
use xen_abi::*;

use super::pci::{ConfigPorts, write_half};

const CAPABILITY: u8 = 0x11;
const ENABLE: u16 = 1 << 15;
const MASK_ALL: u16 = 1 << 14;

/// Why a device has no interrupt.
#[derive(Debug)]
pub(crate) enum MsixError {
    /// It has no MSI-X capability.
    Absent,
    /// Its table's base address register holds no memory address.
    Table,
    /// The hypervisor refused what is named; its negative errno.
    Refused(&'static str, i64),
}

impl core::fmt::Display for MsixError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Absent => write!(f, "it has no MSI-X"),
            Self::Table => write!(f, "its MSI-X table is nowhere"),
            Self::Refused(what, errno) => write!(f, "the hypervisor refuses to {what}: {errno}"),
        }
    }
}

/// Maps entry 0 of a device's table and binds it to a port. MSI-X is switched on before, with all entries masked: the
/// hypervisor reaches the table then.
pub(super) fn bind(root: &mut PciRoot<ConfigPorts>, at: DeviceFunction) -> Result<evtchn_port_t, MsixError> {
    let capability = root
        .capabilities(at)
        .find(|capability| capability.id == CAPABILITY)
        .ok_or(MsixError::Absent)?;
    let table = ConfigPorts.read_word(at, capability.offset + 4);
    let bar = root.bar_info(at, (table & 7) as u8).ok().flatten();
    let Some(BarInfo::Memory { address, .. }) = bar else {
        return Err(MsixError::Table);
    };
    let control = capability.private_header & !MASK_ALL | ENABLE;
    write_half(at, capability.offset + 2, control | MASK_ALL);
    let pirq = map(at, address)?;
    write_half(at, capability.offset + 2, control);
    ports::bind_pirq(pirq, false).map_err(|errno| MsixError::Refused("bind the pirq", errno))
}

/// The pirq for entry 0 of the table behind the base address register that holds `bar`.
fn map(at: DeviceFunction, bar: u64) -> Result<u32, MsixError> {
    let devfn = at.device << 3 | at.function;
    let mut add = physdev_pci_device_add {
        bus: at.bus,
        devfn,
        ..Default::default()
    };
    // The hypervisor may know the device by itself.
    hypercall::physdev_op(PHYSDEVOP_pci_device_add, &mut add);
    let mut ask = physdev_map_pirq {
        domid: DOMID_SELF,
        typ: MAP_PIRQ_TYPE_MSI_SEG,
        index: -1,
        pirq: -1,
        bus: at.bus.into(),
        devfn: devfn.into(),
        entry_nr: 0,
        table_base: bar,
        ..Default::default()
    };
    match hypercall::physdev_op(PHYSDEVOP_map_pirq, &mut ask) {
        0 => Ok(ask.pirq as u32),
        errno => Err(MsixError::Refused("map the MSI-X entry", errno)),
    }
}
