//! Event channels by `/dev/xen/evtchn`: one descriptor for many ports, to be polled for reading.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::device;
use crate::{DomId, Port};

/// `struct ioctl_evtchn_bind_interdomain`.
#[repr(C)]
struct RawInterdomain {
    remote_domain: u32,
    remote_port: u32,
}

const BIND_VIRQ: u64 = device::request(b'E', 0, size_of::<u32>());
const BIND_INTERDOMAIN: u64 = device::request(b'E', 1, size_of::<RawInterdomain>());
const BIND_UNBOUND_PORT: u64 = device::request(b'E', 2, size_of::<u32>());
const UNBIND: u64 = device::request(b'E', 3, size_of::<u32>());
const NOTIFY: u64 = device::request(b'E', 4, size_of::<u32>());
const RESET: u64 = device::request(b'E', 5, 0);
const RESTRICT_DOMID: u64 = device::request(b'E', 6, size_of::<DomId>());

/// A handle for event channels. Ports bound through it are closed when it is dropped.
///
/// It is readable (see [`AsFd`]) while [`EventChannel::pending`] has a port to give. A port that was given is masked
/// until [`EventChannel::unmask`].
#[derive(Debug)]
pub struct EventChannel {
    file: File,
}

impl EventChannel {
    /// Opens the device, not blocking.
    ///
    /// # Errors
    /// With what to do: load a module, be root, be Dom0.
    pub fn open() -> io::Result<Self> {
        let file = device::open(&["/dev/xen/evtchn"], libc::O_NONBLOCK, "xen-evtchn")?;
        Ok(Self { file })
    }

    fn request<T>(&self, request: u64, mut arg: T) -> io::Result<i64> {
        // SAFETY: private; each caller passes the structure that belongs to its request, without addresses in it.
        unsafe { device::ioctl_with(&self.file, request, &mut arg) }
    }

    fn bind<T>(&self, request: u64, arg: T) -> io::Result<Port> {
        let port = self.request(request, arg)?;
        Port::try_from(port).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    /// Binds to a port that `domid` has made for this domain.
    ///
    /// # Errors
    /// The hypervisor's.
    pub fn bind_interdomain(&self, domid: DomId, remote_port: Port) -> io::Result<Port> {
        let raw = RawInterdomain {
            remote_domain: domid.into(),
            remote_port,
        };
        self.bind(BIND_INTERDOMAIN, raw)
    }

    /// Binds to a virtual interrupt (`VIRQ_*` of `xen-abi`).
    ///
    /// # Errors
    /// The hypervisor's; `EEXIST` where another holds it.
    pub fn bind_virq(&self, virq: u32) -> io::Result<Port> {
        self.bind(BIND_VIRQ, virq)
    }

    /// Makes a port for `domid` to bind to.
    ///
    /// # Errors
    /// The hypervisor's.
    pub fn bind_unbound(&self, domid: DomId) -> io::Result<Port> {
        self.bind(BIND_UNBOUND_PORT, u32::from(domid))
    }

    /// Closes a port.
    ///
    /// # Errors
    /// Where it is not bound here.
    pub fn unbind(&self, port: Port) -> io::Result<()> {
        self.request(UNBIND, port).map(|_| ())
    }

    /// Sends an event through a port.
    ///
    /// # Errors
    /// Where it is not bound here.
    pub fn notify(&self, port: Port) -> io::Result<()> {
        self.request(NOTIFY, port).map(|_| ())
    }

    /// The next port with an event, which is masked from now on; none if there is none.
    ///
    /// # Errors
    /// The kernel's. An overflow of its list (more events than ports: a bug) is reset and reported once.
    pub fn pending(&self) -> io::Result<Option<Port>> {
        let mut ports = [0];
        Ok((self.pending_ports(&mut ports)? == 1).then_some(ports[0]))
    }

    /// Like [`EventChannel::pending`] for many ports at once; how many were written.
    ///
    /// # Errors
    /// As there.
    pub fn pending_ports(&self, ports: &mut [Port]) -> io::Result<usize> {
        let bytes = zerocopy::IntoBytes::as_mut_bytes(ports);
        match (&self.file).read(bytes) {
            Ok(len) => Ok(len / size_of::<Port>()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(error) => {
                if error.raw_os_error() == Some(libc::EFBIG) {
                    self.request(RESET, 0u32)?;
                }
                Err(error)
            }
        }
    }

    /// Lets a port report events again.
    ///
    /// # Errors
    /// The kernel's.
    pub fn unmask(&self, port: Port) -> io::Result<()> {
        (&self.file).write_all(&port.to_ne_bytes())
    }

    /// Limits the handle to channels with `domid`, for good.
    ///
    /// # Errors
    /// Where it is limited already.
    pub fn restrict(&self, domid: DomId) -> io::Result<()> {
        self.request(RESTRICT_DOMID, domid).map(|_| ())
    }
}

impl AsFd for EventChannel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Takes over a descriptor, with the ports bound through it, that another program image has opened.
impl From<OwnedFd> for EventChannel {
    fn from(fd: OwnedFd) -> Self {
        Self { file: fd.into() }
    }
}

/// Gives the descriptor away, with its ports: for a program that replaces itself.
impl From<EventChannel> for OwnedFd {
    fn from(channel: EventChannel) -> Self {
        channel.file.into()
    }
}
