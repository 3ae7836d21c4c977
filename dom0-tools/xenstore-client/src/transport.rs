//! The stream of bytes to the daemon.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The kernel's door to the daemon, for domains that do not run it themselves.
const DEVICE: &str = "/dev/xen/xenbus";

/// Where the daemon is found.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    /// A socket of the daemon in this domain.
    Socket(PathBuf),
    /// The kernel's device, which leads to the daemon's domain.
    Device(PathBuf),
}

impl Address {
    /// The environment's `XENSTORED_PATH`, the usual socket, or the device where nothing hints at a daemon here.
    pub(crate) fn find() -> Address {
        if let Some(path) = std::env::var_os("XENSTORED_PATH") {
            return Address::Socket(path.into());
        }
        let socket = Path::new(xenstore_proto::SOCKET);
        let daemon_here = socket.parent().is_some_and(Path::exists);
        if !daemon_here && Path::new(DEVICE).exists() {
            return Address::Device(DEVICE.into());
        }
        Address::Socket(socket.into())
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Address::Socket(path) | Address::Device(path) => path,
        }
    }

    pub(crate) fn connect(&self) -> io::Result<Transport> {
        Ok(match self {
            Address::Socket(path) => Transport::Socket(UnixStream::connect(path)?),
            Address::Device(path) => Transport::Device(OpenOptions::new().read(true).write(true).open(path)?),
        })
    }
}

/// An open connection.
#[derive(Debug)]
pub(crate) enum Transport {
    Socket(UnixStream),
    Device(File),
}

impl Transport {
    /// How many small requests may be sent before the first answer is read. A socket takes that many without its reader;
    /// the kernel's device takes one message a write.
    pub(crate) fn requests_at_once(&self) -> usize {
        match self {
            Transport::Socket(_) => 64,
            Transport::Device(_) => 1,
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Transport::Socket(stream) => stream.write_all(bytes),
            Transport::Device(file) => file.write_all(bytes),
        }
    }

    /// Reads what is there; the other end's closing is an error.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match self {
            Transport::Socket(stream) => stream.read(buffer)?,
            Transport::Device(file) => file.read(buffer)?,
        };
        if count == 0 {
            Err(io::ErrorKind::UnexpectedEof.into())
        } else {
            Ok(count)
        }
    }

    /// Waits until there is something to read; false when the time is over first.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<bool> {
        let limit = timeout.map(|time| Timespec {
            tv_sec: time.as_secs().min(i32::MAX as u64) as i64,
            tv_nsec: i64::from(time.subsec_nanos()),
        });
        let mut fds = [PollFd::from_borrowed_fd(self.as_fd(), PollFlags::IN)];
        match poll(&mut fds, limit.as_ref()) {
            Ok(count) => Ok(count > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Transport::Socket(stream) => stream.as_fd(),
            Transport::Device(file) => file.as_fd(),
        }
    }
}
