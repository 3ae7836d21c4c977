//! The ring between Dom0's kernel and xenstored, by `/dev/xen/xenbus_backend`.

use std::fs::File;
use std::io;

use crate::PAGE_SIZE;
use crate::Port;
use crate::device;
use crate::mapping::Mapping;

const EVTCHN: u64 = device::request(b'B', 0, 0);

/// The kernel's side of Dom0's own xenstore connection.
#[derive(Debug)]
pub struct XenbusBackend {
    file: File,
}

impl XenbusBackend {
    /// Opens the device.
    ///
    /// # Errors
    /// With what to do: be root, be Dom0.
    pub fn open() -> io::Result<Self> {
        let file = device::open(&["/dev/xen/xenbus_backend"], 0, "xen (is this Dom0?)")?;
        Ok(Self { file })
    }

    /// The kernel's port, to be bound with `bind_interdomain(0, port)`.
    ///
    /// # Errors
    /// `ENODEV` where another domain runs xenstored.
    pub fn port(&self) -> io::Result<Port> {
        // SAFETY: the request takes no argument.
        let port = unsafe { device::ioctl(&self.file, EVTCHN, 0)? };
        Port::try_from(port).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    /// The page with the ring.
    ///
    /// # Errors
    /// The kernel's.
    pub fn map_ring(&self) -> io::Result<Mapping> {
        Mapping::of_file(&self.file, 0, PAGE_SIZE, true)
    }
}
