//! The virtio devices that this domain owns: found on the PCI bus, driven by the queues of the virtio-drivers crate.

mod disk;
mod dma;
mod msix;
mod nic;
mod pci;
mod queue;
mod transport;

pub(crate) use disk::{OpenDisk, VirtioDisk};
pub(crate) use nic::Nic;
pub(crate) use pci::find;
pub(crate) use transport::MsixTransport;
