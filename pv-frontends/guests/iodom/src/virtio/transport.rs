//! The PCI transport with message interrupts, which the virtio crate leaves to its user.
use guest_rt::registers::Registers;
use virtio_drivers::PhysAddr;
use virtio_drivers::Result as VirtioResult;
use virtio_drivers::transport::pci::bus::{BarInfo, Command, ConfigurationAccess, DeviceFunction, PciRoot};
use virtio_drivers::transport::pci::{PciTransport, VIRTIO_PCI_CAP_COMMON_CFG};
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use xen_abi::evtchn_port_t;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::dma::DmaHal;
use super::msix::{self, MsixError};
use super::pci::ConfigPorts;

const VENDOR_CAPABILITY: u8 = 9;
/// Registers of `virtio_pci_common_cfg` (virtio 1.2, 4.1.4.3).
const CONFIG_VECTOR: u64 = 0x10;
const QUEUE_SELECT: u64 = 0x16;
const QUEUE_VECTOR: u64 = 0x1a;
const COMMON_SIZE: u64 = 0x38;
/// The entry of the MSI-X table that all queues use.
const VECTOR: u16 = 0;
const NO_VECTOR: u16 = 0xffff;

/// Why a virtio device cannot be used.
#[derive(Debug)]
pub(crate) enum TransportError {
    /// The virtio crate refuses it.
    Virtio(virtio_drivers::transport::pci::VirtioPciError),
    /// Its common registers are not where they should be; the hypervisor's answer.
    Registers(i64),
    /// No interrupt.
    Msix(MsixError),
}

impl core::fmt::Display for TransportError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Virtio(error) => error.fmt(f),
            Self::Registers(errno) => write!(f, "its registers cannot be mapped: {errno}"),
            Self::Msix(error) => error.fmt(f),
        }
    }
}

/// A virtio device whose queues raise one event channel.
pub(crate) struct MsixTransport {
    inner: PciTransport,
    common: Registers,
    port: evtchn_port_t,
}

impl MsixTransport {
    /// Wakes the device and binds its interrupt.
    ///
    /// # Errors
    /// What is missing, or was refused.
    pub(crate) fn new(root: &mut PciRoot<ConfigPorts>, at: DeviceFunction) -> Result<Self, TransportError> {
        root.set_command(
            at,
            Command::MEMORY_SPACE | Command::BUS_MASTER | Command::INTERRUPT_DISABLE,
        );
        let common = map_common(root, at).map_err(TransportError::Registers)?;
        let port = msix::bind(root, at).map_err(TransportError::Msix)?;
        let inner = PciTransport::new::<DmaHal, _>(root, at).map_err(TransportError::Virtio)?;
        Ok(Self { inner, common, port })
    }

    /// The event channel of its interrupt.
    pub(crate) fn port(&self) -> evtchn_port_t {
        self.port
    }
}

/// Maps the registers by which queues are set up.
fn map_common(root: &mut PciRoot<ConfigPorts>, at: DeviceFunction) -> Result<Registers, i64> {
    const ABSENT: i64 = -(xen_abi::Errno::ENODEV.0 as i64);
    let is_common = |offset: &u8| (ConfigPorts.read_word(at, *offset) >> 24) as u8 == VIRTIO_PCI_CAP_COMMON_CFG;
    let place = root
        .capabilities(at)
        .filter(|capability| capability.id == VENDOR_CAPABILITY)
        .map(|capability| capability.offset)
        .find(is_common)
        .ok_or(ABSENT)?;
    let bar = ConfigPorts.read_word(at, place + 4) as u8;
    let offset = ConfigPorts.read_word(at, place + 8);
    match root.bar_info(at, bar) {
        Ok(Some(BarInfo::Memory { address, size, .. })) if u64::from(offset) + COMMON_SIZE <= size => {
            Registers::map(address + u64::from(offset), COMMON_SIZE)
        }
        _ => Err(ABSENT),
    }
}

impl Transport for MsixTransport {
    fn device_type(&self) -> DeviceType {
        self.inner.device_type()
    }

    fn read_device_features(&mut self) -> u64 {
        self.inner.read_device_features()
    }

    fn write_driver_features(&mut self, driver_features: u64) {
        self.inner.write_driver_features(driver_features);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.inner.max_queue_size(queue)
    }

    fn notify(&mut self, queue: u16) {
        self.inner.notify(queue);
    }

    fn get_status(&self) -> DeviceStatus {
        self.inner.get_status()
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.inner.set_status(status);
    }

    fn set_guest_page_size(&mut self, guest_page_size: u32) {
        self.inner.set_guest_page_size(guest_page_size);
    }

    fn requires_legacy_layout(&self) -> bool {
        self.inner.requires_legacy_layout()
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        driver_area: PhysAddr,
        device_area: PhysAddr,
    ) {
        // A reset has taken the vectors away; configuration changes are not waited for.
        self.common.write_u16(CONFIG_VECTOR, NO_VECTOR);
        self.common.write_u16(QUEUE_SELECT, queue);
        self.common.write_u16(QUEUE_VECTOR, VECTOR);
        self.inner.queue_set(queue, size, descriptors, driver_area, device_area);
    }

    fn queue_unset(&mut self, queue: u16) {
        self.inner.queue_unset(queue);
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.inner.queue_used(queue)
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        // Messages need no acknowledgement at the device.
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        self.inner.read_config_generation()
    }

    fn read_config_space<T: FromBytes + IntoBytes>(&self, offset: usize) -> VirtioResult<T> {
        self.inner.read_config_space(offset)
    }

    fn write_config_space<T: IntoBytes + Immutable>(&mut self, offset: usize, value: T) -> VirtioResult<()> {
        self.inner.write_config_space(offset, value)
    }
}
