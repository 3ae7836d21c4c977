//! The store, served to the guests over their rings and used by the driver domain itself without one.
use alloc::collections::{BTreeMap, VecDeque};
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::fmt::Arguments;
use core::sync::atomic::Ordering;
use core::time::Duration;

use pv_hal::{Access, DomId, GrantRef, Hal, Memory, Port};
use pv_xenbus::{Error, Kind, Nodes, Store, StoreError, WatchId};
use xenctrl_core::Domains;
use xenstore_core::LocalClient;
use xenstore_core::daemon::Daemon;
use xenstore_core::platform::{Platform, RingPage, State};
use xenstore_core::quota::Quotas;

/// The store: a handle; clones stand for the same one.
pub struct StoreServer<H: Hal, C: Domains>(Rc<RefCell<Inner<H, C>>>);

struct Inner<H: Hal, C: Domains> {
    daemon: Daemon<Machine<H, C>>,
    client: LocalClient,
    watches: BTreeMap<u32, OwnWatch>,
    next_watch: u32,
}

/// Events that are kept for a watch one by one; beyond them one stands for all. A guest may cause any number.
const EVENTS_KEPT: usize = 32;

struct OwnWatch {
    path: String,
    events: VecDeque<String>,
}

impl<H: Hal, C: Domains> Clone for StoreServer<H, C> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<H: Hal, C: Domains> StoreServer<H, C> {
    /// An empty store.
    pub fn new(hal: &H, control: Rc<C>) -> Self {
        let machine = Machine {
            hal: hal.clone(),
            control,
            ports: Vec::new().into(),
        };
        let mut daemon = Daemon::new(machine, Quotas::default());
        daemon.make_first_nodes();
        let client = daemon.add_local_client(());
        Self(Rc::new(RefCell::new(Inner {
            daemon,
            client,
            watches: BTreeMap::new(),
            next_watch: 0,
        })))
    }

    /// Takes a guest up: `frame` is its ring's, which is granted by the reserved reference; `port` its own.
    ///
    /// # Errors
    /// The ring cannot be mapped, or the port not be bound.
    pub fn introduce(&self, domid: u16, frame: u64, port: u32) -> Result<(), Error> {
        self.0
            .borrow_mut()
            .daemon
            .connect_ring(domid, frame, port)
            .map_err(Error::Store)
    }

    /// Serves the rings that have events; true if there is more to do at once.
    pub fn serve(&self) -> bool {
        let mut inner = self.0.borrow_mut();
        let machine = &inner.daemon.host;
        let is_new = |port: &u32| machine.hal.take_event(Port(*port));
        let ports: Vec<u32> = machine.ports.borrow().iter().copied().filter(is_new).collect();
        inner.daemon.run_round(&ports)
    }

    /// Takes leave of domains that have ended, and tells of those that have shut down.
    pub fn check_domains(&self) {
        self.0.borrow_mut().daemon.check_domains();
    }

    /// The ports of the guests' rings.
    pub fn ports(&self) -> Vec<Port> {
        self.0
            .borrow()
            .daemon
            .host
            .ports
            .borrow()
            .iter()
            .copied()
            .map(Port)
            .collect()
    }
}

impl<H: Hal, C: Domains> Inner<H, C> {
    fn call(&mut self, transaction: u32, kind: Kind, parts: &[&str], tail: &[u8]) -> Result<Vec<u8>, Error> {
        let mut payload = Vec::new();
        for part in parts {
            payload.extend_from_slice(part.as_bytes());
            payload.push(0);
        }
        payload.extend_from_slice(tail);
        self.daemon
            .call(&mut self.client, kind, transaction, &payload)
            .map_err(Error::Store)
    }

    /// Sorts the events that have come by their watches, whose tokens are their numbers.
    fn sort_events(&mut self) {
        self.daemon.collect_events(&mut self.client);
        while let Some((path, token)) = self.client.take_event() {
            let number = core::str::from_utf8(&token).ok().and_then(|token| token.parse().ok());
            let watch = number.and_then(|number: u32| self.watches.get_mut(&number));
            if let Some(watch) = watch {
                let path = String::from_utf8_lossy(&path).into_owned();
                // The same change told twice says nothing more.
                if watch.events.len() >= EVENTS_KEPT {
                    watch.events.clear();
                    watch.events.push_back(watch.path.clone());
                } else if watch.events.back() != Some(&path) {
                    watch.events.push_back(path);
                }
            }
        }
    }
}

impl<H: Hal, C: Domains> Nodes for StoreServer<H, C> {
    fn call(&self, kind: Kind, parts: &[&str], tail: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.borrow_mut().call(0, kind, parts, tail)
    }
}

impl<H: Hal, C: Domains> Store for StoreServer<H, C> {
    fn call_within(&self, transaction: u32, kind: Kind, parts: &[&str], tail: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.borrow_mut().call(transaction, kind, parts, tail)
    }

    fn watch(&self, path: &str) -> Result<WatchId, Error> {
        let mut inner = self.0.borrow_mut();
        let number = inner.next_watch;
        inner.next_watch += 1;
        let watch = OwnWatch {
            path: path.into(),
            events: VecDeque::new(),
        };
        inner.watches.insert(number, watch);
        let token = alloc::format!("{number}");
        match inner.call(0, Kind::WATCH, &[path, &token], &[]) {
            Ok(_) => Ok(WatchId(number)),
            Err(error) => {
                inner.watches.remove(&number);
                Err(error)
            }
        }
    }

    fn unwatch(&self, watch: WatchId) {
        let mut inner = self.0.borrow_mut();
        if let Some(own) = inner.watches.remove(&watch.0) {
            let token = alloc::format!("{}", watch.0);
            // A watch that the store has forgotten is over, too.
            let _ = inner.call(0, Kind::UNWATCH, &[&own.path, &token], &[]);
        }
    }

    fn take_event(&self, watch: WatchId) -> Option<String> {
        let mut inner = self.0.borrow_mut();
        inner.sort_events();
        inner.watches.get_mut(&watch.0)?.events.pop_front()
    }

    fn port(&self) -> Option<Port> {
        // Whoever changes the store does so through `serve` or this handle, in the same thread.
        None
    }
}

/// What the store sees of the machine.
struct Machine<H, C> {
    hal: H,
    control: Rc<C>,
    /// Ports of rings.
    ports: RefCell<Vec<u32>>,
}

/// A guest's ring.
struct Ring<M>(M);

impl<M: Memory> RingPage for Ring<M> {
    fn load_u32(&self, offset: usize, order: Ordering) -> u32 {
        self.0.load_u32(offset, order)
    }

    fn store_u32(&self, offset: usize, value: u32, order: Ordering) {
        self.0.store_u32(offset, value, order);
    }

    fn read(&self, offset: usize, into: &mut [u8]) {
        self.0.read(offset, into);
    }

    fn write(&self, offset: usize, from: &[u8]) {
        self.0.write(offset, from);
    }
}

impl<H: Hal, C: Domains> Platform for Machine<H, C> {
    type Page = Ring<H::Mapping>;
    type Stream = ();

    fn state(&self, domain: u16) -> Option<State> {
        let info = self.control.domain_info(domain).ok()?;
        Some(State {
            shutdown: info.shutdown.is_some(),
            dying: info.dying,
        })
    }

    fn map_ring(&self, domain: u16, _frame: u64) -> Result<Self::Page, StoreError> {
        let grant = GrantRef(xen_abi::GNTTAB_RESERVED_XENSTORE);
        let mapped = self.hal.map(DomId(domain), &[grant], Access::ReadWrite);
        mapped.map(Ring).map_err(|_| StoreError::EINVAL)
    }

    fn bind(&self, domain: u16, port: u32) -> Result<u32, StoreError> {
        let bound = self.hal.bind_interdomain(DomId(domain), Port(port));
        let Port(own) = bound.map_err(|_| StoreError::EINVAL)?;
        self.ports.borrow_mut().push(own);
        Ok(own)
    }

    fn unbind(&self, port: u32) {
        self.ports.borrow_mut().retain(|&own| own != port);
        self.hal.close(Port(port));
    }

    fn notify(&self, port: u32) {
        self.hal.notify(Port(port));
    }

    fn now(&self) -> Duration {
        self.hal.now()
    }

    fn log(&self, text: Arguments<'_>) {
        log::info!("store: {text}");
    }
}
