//! The hypervisor itself, through Dom0's kernel.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use privcmd::{EventChannel, GrantDevice, Privcmd, XenbusBackend};
use xen_abi::{GNTTAB_RESERVED_XENSTORE, VIRQ_DOM_EXC};
use xenctrl::Domains;

use super::{Host, Inherited, Page, State};

/// The devices of Dom0's kernel.
pub struct Live {
    control: xenctrl::Live,
    privcmd: Privcmd,
    grants: GrantDevice,
    events: EventChannel,
    exit_port: u32,
}

impl Live {
    /// Opens the devices; takes over event channels that an earlier program of this process had open.
    pub fn open(inherited: Option<Inherited>) -> io::Result<Live> {
        let (events, exit_port) = match inherited {
            Some(Inherited { events, exit_port }) => (EventChannel::from(events), exit_port),
            None => {
                let events = EventChannel::open()?;
                let port = events.bind_virq(VIRQ_DOM_EXC)?;
                (events, port)
            }
        };
        let control = xenctrl::Live::open().map_err(io::Error::other)?;
        Ok(Live {
            control,
            privcmd: Privcmd::open()?,
            grants: GrantDevice::open()?,
            events,
            exit_port,
        })
    }
}

impl Host for Live {
    fn state(&self, domain: u16) -> Option<State> {
        let info = self.control.domain_info(domain).ok()?;
        Some(State {
            shutdown: info.shutdown.is_some(),
            dying: info.dying,
        })
    }

    fn map_ring(&self, domain: u16, frame: u64) -> io::Result<Page> {
        match self.grants.map(domain, &[GNTTAB_RESERVED_XENSTORE], true) {
            Ok(map) => Ok(Page::new(map)),
            // A builder that made no grant entry still names the frame.
            Err(_) => Ok(Page::new(Box::new(self.privcmd.map_foreign(domain, &[frame], true)?))),
        }
    }

    fn own_ring(&self) -> io::Result<Option<(Page, u32)>> {
        let backend = XenbusBackend::open()?;
        Ok(Some((Page::new(Box::new(backend.map_ring()?)), backend.port()?)))
    }

    fn bind(&self, domain: u16, port: u32) -> io::Result<u32> {
        self.events.bind_interdomain(domain, port)
    }

    fn unbind(&self, port: u32) {
        // A port that is gone already needs no closing.
        let _ = self.events.unbind(port);
    }

    fn notify(&self, port: u32) {
        // The other end may have gone meanwhile; its end is told by the exit port.
        let _ = self.events.notify(port);
    }

    fn take_events(&self, ports: &mut Vec<u32>) -> io::Result<()> {
        while let Some(port) = self.events.pending()? {
            self.events.unmask(port)?;
            ports.push(port);
            if ports.len() >= 256 {
                break;
            }
        }
        Ok(())
    }

    fn events(&self) -> Option<BorrowedFd<'_>> {
        Some(self.events.as_fd())
    }

    fn exit_port(&self) -> Option<u32> {
        Some(self.exit_port)
    }
}
