//! The driver domain as a whole: guests, store, consoles, disks, bridge. It is polled; nothing here waits.
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::vec::Vec;

use pv_hal::{Hal, Port};
use pv_net::{Interface, Status};
use xenctrl_core::ShutdownReason;

use crate::bridge::{Bridge, Uplink};
use crate::build::{self, Control, NewDomain};
use crate::config::GuestConfig;
use crate::console::Console;
use crate::guest::{Disks, Guest, Trouble, attach_disk, attach_net};
use crate::nodes::{self, Device};
use crate::request::{Requests, answer};
use crate::restart::Life;
use crate::store::StoreServer;

/// Who reads what the guests print and hears of their ends.
pub trait Reports {
    /// A line of a guest's console.
    fn line(&mut self, guest: &str, text: &[u8]);
    /// A guest has shut down, and is taken away.
    fn ended(&mut self, guest: &str, reason: ShutdownReason);
    /// A guest that has rebooted runs as this domain, or does not and why.
    fn restarted(&mut self, guest: &str, result: Result<u16, Trouble>);
}

/// A guest of a driver domain with these disks.
type GuestOf<H, C, D> = Guest<H, StoreServer<H, C>, <D as Disks>::Disk>;

/// Everything.
pub struct Server<H: Hal, C: Control, D: Disks, U: Uplink> {
    pub(crate) hal: H,
    control: Rc<C>,
    pub(crate) store: StoreServer<H, C>,
    pub(crate) disks: D,
    pub(crate) bridge: Bridge<H, StoreServer<H, C>, U>,
    pub(crate) guests: BTreeMap<u16, GuestOf<H, C, D>>,
    pub(crate) requests: Requests,
    started: u64,
}

impl<H: Hal, C: Control, D: Disks, U: Uplink> Server<H, C, D, U> {
    /// A driver domain without guests.
    pub fn new(hal: &H, control: C, disks: D, wire: Option<U>) -> Self {
        let control = Rc::new(control);
        Self {
            hal: hal.clone(),
            store: StoreServer::new(hal, Rc::clone(&control)),
            control,
            disks,
            bridge: Bridge::new(wire),
            guests: BTreeMap::new(),
            requests: Requests::default(),
            started: 0,
        }
    }

    /// The store.
    pub fn store(&self) -> &StoreServer<H, C> {
        &self.store
    }

    /// Whether no guest is left.
    pub fn is_empty(&self) -> bool {
        self.guests.is_empty()
    }

    /// Builds a guest and starts it; its domain's number. Where it fails, nothing is left.
    ///
    /// # Errors
    /// What went wrong.
    pub fn start(&mut self, config: &GuestConfig<'static>) -> Result<u16, Trouble> {
        self.begin(config, Life::begin(self.hal.now()))
    }

    fn begin(&mut self, config: &GuestConfig<'static>, life: Life) -> Result<u16, Trouble> {
        self.started += 1;
        let domain = build::build(&*self.control, config, self.started).map_err(|error| error.to_string())?;
        self.connect(config, domain, life)
            .inspect_err(|_| self.take_away(domain.domid))?;
        Ok(domain.domid)
    }

    fn connect(&mut self, config: &GuestConfig<'static>, domain: NewDomain, life: Life) -> Result<(), Trouble> {
        let domid = domain.domid;
        let said = nodes::Domain {
            domid,
            name: config.name,
            memory_kib: config.memory * 1024,
            vcpus: config.vcpus,
            store: domain.store,
            console: domain.console,
        };
        nodes::write_domain(&self.store, &said).map_err(|error| error.to_string())?;
        let (frame, port) = domain.store;
        self.store
            .introduce(domid, frame, port)
            .map_err(|error| error.to_string())?;
        let console = Console::new(&self.hal, domid, domain.console.1).map_err(|error| error.to_string())?;
        let mut guest = Guest {
            config: config.clone(),
            domain,
            life,
            console,
            disks: Vec::new(),
        };
        for disk in &config.disks {
            let disk = attach_disk(&self.hal, &self.store, &mut self.disks, domid, disk)?;
            guest.disks.push(disk);
        }
        for (index, net) in config.nets.iter().enumerate() {
            let (device, end) = attach_net(&self.hal, &self.store, domid, index, net)?;
            self.bridge.add(device, end);
        }
        self.requests
            .watch(&self.store, domid)
            .map_err(|error| error.to_string())?;
        self.guests.insert(domid, guest);
        self.control.unpause_domain(domid).map_err(|error| error.to_string())
    }

    /// Does what there is to do; true if there is more to do at once.
    pub fn poll(&mut self, reports: &mut dyn Reports) -> bool {
        let mut is_busy = self.store.serve();
        for guest in self.guests.values_mut() {
            let name = guest.config.name;
            is_busy |= guest.console.poll(&mut |line| reports.line(name, line));
            is_busy |= guest.serve_disks();
        }
        self.follow_interfaces();
        is_busy |= self.bridge.forward();
        is_busy |= answer(self);
        // Backends have changed the store meanwhile.
        self.store.serve() || is_busy
    }

    fn follow_interfaces(&mut self) {
        let mut gone: Vec<Device> = Vec::new();
        for (device, end) in self.bridge.ends() {
            match end.poll() {
                Ok(Status::Closed) => gone.push(device),
                Ok(Status::Connecting | Status::Up) => {}
                Err(error) => {
                    log::warn!("{}: {error}", device.backend());
                    gone.push(device);
                }
            }
        }
        for device in gone {
            self.bridge.remove(device);
        }
    }

    /// Asks for events about everything; true if there is something already. Only after `false` may the machine sleep
    /// for the [`ports`](Self::ports).
    pub fn arm(&mut self) -> bool {
        self.bridge.ends().fold(false, |any, (_, end)| end.arm(false) || any)
    }

    /// The ports that report anything.
    pub fn ports(&mut self) -> Vec<Port> {
        let mut ports = self.store.ports();
        ports.extend(self.guests.values().flat_map(Guest::ports));
        ports.extend(self.bridge.ends().flat_map(|(_, end)| end.ports()));
        ports
    }

    /// Looks for guests that have shut down or are gone, and takes them away: to be called when the hypervisor says so
    /// (`VIRQ_DOM_EXC`).
    pub fn check_domains(&mut self, reports: &mut dyn Reports) {
        self.store.check_domains();
        let reason = |domid: &u16| match self.control.domain_info(*domid) {
            Ok(info) => info.shutdown,
            Err(_) => Some(ShutdownReason::Crash),
        };
        let over: Vec<_> = self
            .guests
            .keys()
            .filter_map(|domid| Some((*domid, reason(domid)?)))
            .collect();
        for (domid, reason) in over {
            if let Some(mut guest) = self.guests.remove(&domid) {
                let name = guest.config.name;
                guest.console.finish(&mut |line| reports.line(name, line));
                let (config, life) = (guest.config.clone(), guest.life);
                drop(guest);
                self.take_away(domid);
                reports.ended(name, reason);
                if reason == ShutdownReason::Reboot && config.restarts {
                    reports.restarted(name, self.restart(&config, life));
                }
            }
        }
    }

    /// Starts a guest that has rebooted anew.
    fn restart(&mut self, config: &GuestConfig<'static>, life: Life) -> Result<u16, Trouble> {
        let life = life.next(self.hal.now()).ok_or("it does nothing but reboot")?;
        self.begin(config, life)
    }

    /// Types at the first guest's console.
    pub fn type_bytes(&mut self, bytes: &[u8]) {
        if let Some(guest) = self.guests.values_mut().next() {
            guest.console.type_bytes(bytes);
        }
    }

    /// Takes a domain away: its devices, its nodes, itself.
    fn take_away(&mut self, domid: u16) {
        self.guests.remove(&domid);
        self.requests.forget(&self.store, domid);
        let vifs: Vec<Device> = self.bridge.ends().map(|(device, _)| device).collect();
        for device in vifs.into_iter().filter(|device| device.domid == domid) {
            self.bridge.remove(device);
        }
        for kind in ["vbd", "vif"] {
            let path = alloc::format!("/local/domain/0/backend/{kind}/{domid}");
            if let Err(error) = pv_xenbus::Nodes::remove(&self.store, &path) {
                log::warn!("{path}: {error}");
            }
        }
        if let Err(error) = nodes::remove_domain(&self.store, domid) {
            log::warn!("domain {domid}: {error}");
        }
        if let Err(error) = self.control.destroy_domain(domid) {
            log::warn!("{error}");
        }
        self.store.check_domains();
    }
}
