//! What the daemon needs of the machine below it: domains' rings, event channels, and who is alive.

use std::io;
use std::ops::Deref;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::LazyLock;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use privcmd::Mapping;
use xenstore_core::platform::{Platform, RingPage};
use xenstore_proto::Error;

mod files;
mod live;

pub use files::Files;
pub use live::Live;
pub use xenstore_core::platform::State;

/// A mapped ring page.
pub struct Page(Box<dyn Deref<Target = Mapping>>);

impl Page {
    /// A ring in a mapping, which is unmapped with it.
    pub fn new(mapping: impl Deref<Target = Mapping> + 'static) -> Page {
        Page(Box::new(mapping))
    }
}

impl RingPage for Page {
    fn load_u32(&self, offset: usize, order: Ordering) -> u32 {
        self.0.load_u32(offset, order)
    }
    fn store_u32(&self, offset: usize, value: u32, order: Ordering) {
        self.0.store_u32(offset, value, order)
    }
    fn read(&self, offset: usize, into: &mut [u8]) {
        self.0.read(offset, into)
    }
    fn write(&self, offset: usize, from: &[u8]) {
        self.0.write(offset, from)
    }
}

/// The hypervisor as the daemon sees it.
pub trait Host {
    /// A domain's state; none where there is no such domain.
    fn state(&self, domain: u16) -> Option<State>;
    /// Maps the page that a domain shares with the daemon; `frame` is where its builder says it is.
    fn map_ring(&self, domain: u16, frame: u64) -> io::Result<Page>;
    /// Maps Dom0's own page and names the kernel's port; none where there is no such kernel.
    fn own_ring(&self) -> io::Result<Option<(Page, u32)>>;
    /// Binds to a port that a domain made for the daemon.
    fn bind(&self, domain: u16, port: u32) -> io::Result<u32>;
    /// Closes a port.
    fn unbind(&self, port: u32);
    /// Sends an event.
    fn notify(&self, port: u32);
    /// Appends the ports that have events, and lets them report again.
    fn take_events(&self, ports: &mut Vec<u32>) -> io::Result<()>;
    /// What to wait at for events.
    fn events(&self) -> Option<BorrowedFd<'_>>;
    /// The port that tells of domains that shut down or end.
    fn exit_port(&self) -> Option<u32>;
}

/// A machine without a hypervisor: domains without rings, over sockets.
pub struct Nothing {
    /// Which domains exist.
    pub exists: fn(u16) -> bool,
}

impl Default for Nothing {
    /// Nobody but domain 0.
    fn default() -> Self {
        Self {
            exists: |domain| domain == 0,
        }
    }
}

impl Host for Nothing {
    fn state(&self, domain: u16) -> Option<State> {
        (self.exists)(domain).then_some(State {
            shutdown: false,
            dying: false,
        })
    }
    fn map_ring(&self, _: u16, _: u64) -> io::Result<Page> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn own_ring(&self) -> io::Result<Option<(Page, u32)>> {
        Ok(None)
    }
    fn bind(&self, _: u16, _: u32) -> io::Result<u32> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn unbind(&self, _: u32) {}
    fn notify(&self, _: u32) {}
    fn take_events(&self, _: &mut Vec<u32>) -> io::Result<()> {
        Ok(())
    }
    fn events(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    fn exit_port(&self) -> Option<u32> {
        None
    }
}

/// What of a host outlives the program: the open event channels, if there are any.
pub struct Inherited {
    /// The event channel device, with its bindings.
    pub events: OwnedFd,
    /// See [`Host::exit_port`].
    pub exit_port: u32,
}

/// When this program began to look at the clock.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Platform for Box<dyn Host> {
    type Page = Page;
    type Stream = OwnedFd;

    fn state(&self, domain: u16) -> Option<State> {
        (**self).state(domain)
    }
    fn map_ring(&self, domain: u16, frame: u64) -> Result<Page, Error> {
        (**self).map_ring(domain, frame).map_err(|error| wire_error(&error))
    }
    fn bind(&self, domain: u16, port: u32) -> Result<u32, Error> {
        (**self).bind(domain, port).map_err(|error| wire_error(&error))
    }
    fn unbind(&self, port: u32) {
        (**self).unbind(port)
    }
    fn notify(&self, port: u32) {
        (**self).notify(port)
    }
    fn now(&self) -> Duration {
        START.elapsed()
    }
    fn log(&self, text: std::fmt::Arguments<'_>) {
        eprintln!("xenstored: {text}");
    }
    fn check_update(&self, program: &str) -> Result<(), String> {
        crate::recovery::handover::check_program(program.as_ref())
    }
}

/// The error that stands for one of the kernel's.
fn wire_error(error: &io::Error) -> Error {
    let number = error.raw_os_error().unwrap_or(0);
    let known = Error::ALL.iter().copied().find(|known| known.number() == number);
    known.unwrap_or(if error.kind() == io::ErrorKind::NotFound {
        Error::ENOENT
    } else {
        Error::EINVAL
    })
}
