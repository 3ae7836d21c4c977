//! A domain of the fake machine that serves the store to another one, with the same code as xenstored.
#![allow(dead_code, unreachable_pub)]

use pv_hal::fake::{Domain, Machine, Mapping};
use pv_hal::{Access, DomId, Hal, Memory, Port};
use pv_xenbus::RingStore;
use std::cell::RefCell;
use std::fmt::Arguments;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use xenstore_core::LocalClient;
use xenstore_core::connection::Connection;
use xenstore_core::daemon::Daemon;
use xenstore_core::platform::{Platform, RingPage, State};
use xenstore_core::quota::Quotas;
use xenstore_proto::{Error, Kind};

/// The server's machine.
pub struct Fake(Domain);

/// A guest's ring.
pub struct Page(Mapping);

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

impl Platform for Fake {
    type Page = Page;
    type Stream = ();

    fn state(&self, domain: u16) -> Option<State> {
        (domain < 10).then_some(State {
            shutdown: false,
            dying: false,
        })
    }
    fn map_ring(&self, domain: u16, _: u64) -> Result<Page, Error> {
        let (grant, _) = self.0.machine().store_backend(DomId(domain));
        let page = self.0.map(DomId(domain), &[grant], Access::ReadWrite);
        page.map(Page).map_err(|_| Error::EINVAL)
    }
    fn bind(&self, domain: u16, port: u32) -> Result<u32, Error> {
        let port = self.0.bind_interdomain(DomId(domain), Port(port));
        port.map(|port| port.0).map_err(|_| Error::EINVAL)
    }
    fn unbind(&self, port: u32) {
        self.0.close(Port(port));
    }
    fn notify(&self, port: u32) {
        self.0.notify(Port(port));
    }
    fn now(&self) -> Duration {
        self.0.now()
    }
    fn log(&self, _: Arguments<'_>) {}
}

/// A machine with a server, domain 0, a guest, domain 1, and a driver domain, domain 2.
pub struct Rig {
    pub machine: Machine,
    pub server: Domain,
    pub guest: Domain,
    pub driver: Domain,
    pub daemon: Rc<RefCell<Daemon<Fake>>>,
    toolstack: RefCell<LocalClient>,
}

impl Rig {
    pub fn new() -> Rig {
        let machine = Machine::new();
        let [server, guest, driver] = [0, 1, 2].map(|id| machine.add_domain(id));
        let mut daemon = Daemon::new(Fake(server.clone()), Quotas::default());
        daemon.make_first_nodes();
        for domain in [&guest, &driver] {
            let (_, port) = machine.store_backend(domain.id());
            daemon.connect_ring(domain.id().0, 0, port.0).unwrap();
        }
        let toolstack = RefCell::new(daemon.add_local_client(()));
        let daemon = Rc::new(RefCell::new(daemon));
        let (task, own) = (daemon.clone(), server.clone());
        server.spawn(move || serve(&mut task.borrow_mut(), &own));
        let rig = Rig {
            machine,
            server,
            guest,
            driver,
            daemon,
            toolstack,
        };
        rig.set("/local/domain/1", "", "n1");
        rig.set("/local/domain/1/domid", "1", "n1");
        rig.set("/local/domain/1/data", "", "n1");
        rig.set("/local/domain/2/backend", "", "n2");
        rig
    }

    /// The guest's store.
    pub fn store(&self) -> RingStore<Domain> {
        RingStore::new(&self.guest).unwrap()
    }

    /// Sets a node and its access list (entries separated by commas), as the toolstack does.
    pub fn set(&self, path: &str, value: &str, list: &str) {
        let (mut daemon, mut client) = (self.daemon.borrow_mut(), self.toolstack.borrow_mut());
        let mut call = |kind, payload: &str| daemon.call(&mut client, kind, 0, payload.as_bytes()).unwrap();
        call(Kind::WRITE, &format!("{path}\0{value}"));
        call(Kind::SET_PERMS, &format!("{path}\0{}\0", list.replace(',', "\0")));
    }
}

fn serve(daemon: &mut Daemon<Fake>, own: &Domain) {
    let rings = daemon.connections.iter_mut().flatten().filter_map(Connection::ring);
    let ports: Vec<u32> = rings.map(|ring| ring.port).collect();
    let pending: Vec<u32> = ports.into_iter().filter(|&port| own.take_event(Port(port))).collect();
    daemon.run_round(&pending);
}
