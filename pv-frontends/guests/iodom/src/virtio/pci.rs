//! The PCI buses: configuration by ports, and what of virtio is there.
use alloc::vec::Vec;

use guest_rt::io_port;
use virtio_drivers::transport::DeviceType;
use virtio_drivers::transport::pci::bus::{ConfigurationAccess, DeviceFunction, HeaderType, PciRoot};
use virtio_drivers::transport::pci::virtio_device_type;

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
/// Secondary bus in the second byte, of a bridge.
const BUSES: u8 = 0x18;

/// Configuration space by I/O ports, which the hypervisor emulates: its own devices and MSI-X tables stay its own.
#[derive(Debug)]
pub(crate) struct ConfigPorts;

fn select(function: DeviceFunction, register: u8) {
    let place = u32::from(function.bus) << 16 | u32::from(function.device) << 11 | u32::from(function.function) << 8;
    io_port::write_u32(ADDRESS, 1 << 31 | place | u32::from(register & 0xfc));
}

impl ConfigurationAccess for ConfigPorts {
    fn read_word(&self, function: DeviceFunction, register: u8) -> u32 {
        select(function, register);
        io_port::read_u32(DATA)
    }

    fn write_word(&mut self, function: DeviceFunction, register: u8, data: u32) {
        select(function, register);
        io_port::write_u32(DATA, data);
    }

    unsafe fn unsafe_clone(&self) -> Self {
        Self
    }
}

/// Writes a halfword: the hypervisor looks at writes to a capability's control by their size.
pub(super) fn write_half(function: DeviceFunction, register: u8, value: u16) {
    select(function, register);
    io_port::write_u16(DATA + u16::from(register & 2), value);
}

/// A virtio device on the bus.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// Where.
    pub(crate) function: DeviceFunction,
    /// What.
    pub(crate) kind: DeviceType,
}

/// All virtio devices, in the order of buses, devices, functions.
pub(crate) fn find() -> (PciRoot<ConfigPorts>, Vec<Found>) {
    let root = PciRoot::new(ConfigPorts);
    let mut found = Vec::new();
    let mut buses = alloc::vec![0u8];
    let mut next = 0;
    while let Some(&bus) = buses.get(next) {
        next += 1;
        for (function, info) in root.enumerate_bus(bus) {
            if let Some(kind) = virtio_device_type(&info) {
                found.push(Found { function, kind });
            }
            let below = (ConfigPorts.read_word(function, BUSES) >> 8) as u8;
            if info.header_type == HeaderType::PciPciBridge && below > bus {
                buses.push(below);
            }
        }
    }
    (root, found)
}
