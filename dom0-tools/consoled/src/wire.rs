//! What ties the daemon to a guest: its ring's page and its event channel.

use std::io;
use std::sync::atomic::Ordering;

use privcmd::{DomId, EventChannel, GrantDevice, GrantMap, Mapping, Port, Privcmd};

use crate::ring::SharedPage;

/// The grant that a toolstack reserves for the console's page (`GNTTAB_RESERVED_CONSOLE`).
const CONSOLE_GRANT: u32 = 0;

/// The doors to guests, behind a trait for tests.
pub trait Wire {
    /// A mapped console page.
    type Page: SharedPage;

    /// Maps a guest's console page, whose frame the store names.
    fn map(&self, domid: DomId, frame: u64) -> io::Result<Self::Page>;
    /// Binds to the guest's port.
    fn bind(&self, domid: DomId, remote: Port) -> io::Result<Port>;
    /// Gives the port up.
    fn unbind(&self, port: Port);
    /// Tells the guest that the ring has changed.
    fn notify(&self, port: Port);
    /// Lets the port report again.
    fn unmask(&self, port: Port);
}

/// A console page, by grant where the toolstack made one, otherwise by frame.
#[derive(Debug)]
pub enum ConsolePage {
    /// By grant 0.
    Granted(GrantMap),
    /// By the frame's number.
    Foreign(Mapping),
}

impl ConsolePage {
    fn mapping(&self) -> &Mapping {
        match self {
            Self::Granted(map) => map,
            Self::Foreign(map) => map,
        }
    }
}

impl SharedPage for ConsolePage {
    fn load(&self, offset: usize) -> u32 {
        self.mapping().load_u32(offset, Ordering::Acquire)
    }

    fn store(&self, offset: usize, value: u32) {
        // Sequentially consistent, so that the guest sees the index before the event.
        self.mapping().store_u32(offset, value, Ordering::SeqCst);
    }

    fn read(&self, offset: usize, into: &mut [u8]) {
        self.mapping().read(offset, into);
    }

    fn write(&self, offset: usize, from: &[u8]) {
        self.mapping().write(offset, from);
    }
}

/// The real doors.
#[derive(Debug)]
pub struct Live {
    privcmd: Privcmd,
    grants: Option<GrantDevice>,
    events: EventChannel,
}

impl Live {
    /// Opens the devices. Without gntdev, pages are mapped by frame.
    pub fn open() -> io::Result<Self> {
        let (privcmd, events) = (Privcmd::open()?, EventChannel::open()?);
        Ok(Self {
            privcmd,
            grants: GrantDevice::open().ok(),
            events,
        })
    }

    /// The descriptor of all ports.
    pub fn events(&self) -> &EventChannel {
        &self.events
    }
}

impl Wire for Live {
    type Page = ConsolePage;

    fn map(&self, domid: DomId, frame: u64) -> io::Result<ConsolePage> {
        let granted = self
            .grants
            .as_ref()
            .map(|grants| grants.map(domid, &[CONSOLE_GRANT], true));
        if let Some(Ok(map)) = granted {
            return Ok(ConsolePage::Granted(map));
        }
        self.privcmd
            .map_foreign(domid, &[frame], true)
            .map(ConsolePage::Foreign)
    }

    fn bind(&self, domid: DomId, remote: Port) -> io::Result<Port> {
        self.events.bind_interdomain(domid, remote)
    }

    // The errors of these three say that the port is not bound: the guest is gone, and its end is on its way.

    fn unbind(&self, port: Port) {
        let _ = self.events.unbind(port);
    }

    fn notify(&self, port: Port) {
        let _ = self.events.notify(port);
    }

    fn unmask(&self, port: Port) {
        let _ = self.events.unmask(port);
    }
}
