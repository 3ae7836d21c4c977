//! A disk on xenbus: a device whose backend is found, followed and left through xenstore.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use pv_hal::{Hal, Port};
use pv_xenbus::frontend::{self as xenbus, Step};
use pv_xenbus::{State, Store};

use super::{Buffer, Completion, Device, Error, Token};
use crate::negotiation::{Connection, Properties, Transport};

/// What a frontend would like to use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// The most queues, pages of ring and segments; the backend may have less.
    pub transport: Transport,
    /// Grants stay between requests, and the backend may keep the pages mapped (`feature-persistent`). Otherwise each
    /// request's pages are granted for it alone, to be read only where they are written to the disk.
    pub persistent: bool,
}

impl Default for Options {
    /// One queue with four pages of ring, indirect requests, persistent grants.
    fn default() -> Self {
        Self {
            transport: Transport {
                queues: 1,
                ring_order: 2,
                indirect_segments: 256,
            },
            persistent: true,
        }
    }
}

/// How a disk stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// Its backend is being waited for. Requests that have no answer wait, too.
    Waiting,
    /// It can be used.
    Connected,
    /// It is closed, or unplugged; requests have ended with [`Error::Disconnected`].
    Closed,
}

/// A disk's frontend. [`device`](Self::device) takes requests and gives completions; [`poll_bus`](Self::poll_bus)
/// follows the backend whenever the store has news. The blocking methods do both.
pub struct Frontend<H: Hal, S: Store> {
    pub(super) hal: H,
    bus: xenbus::Frontend<S>,
    pub(super) device: Device<H>,
    options: Options,
    /// A backend that has broken the protocol is being left.
    has_left: bool,
    /// The disk closes only to be opened again.
    keeps_requests: bool,
    pub(super) timeout: Option<Duration>,
    /// Buffers of the blocking methods.
    pub(super) spare: Vec<Buffer<H>>,
    /// Requests of blocking methods that have timed out.
    pub(super) abandoned: BTreeSet<Token>,
    /// Completions of the caller's own requests that came while a blocking method waited for its own.
    pub(super) others: VecDeque<Completion<H>>,
}

impl<H: Hal, S: Store> Frontend<H, S> {
    /// Takes up the disk at `path`, such as `device/vbd/51712`. Nothing is connected yet.
    ///
    /// # Errors
    /// There is no such device, or the store fails.
    pub fn new(hal: &H, store: S, path: &str, options: Options) -> Result<Self, Error> {
        let bus = xenbus::Frontend::new(store, path)?;
        // The number has 16 bits in requests, where nobody looks at it, and more in the store.
        let handle: u32 = bus.own_value("virtual-device")?.unwrap_or(0);
        Ok(Self {
            hal: hal.clone(),
            bus,
            device: Device::new(hal, handle as u16, options.persistent),
            options,
            has_left: false,
            keeps_requests: false,
            timeout: None,
            spare: Vec::new(),
            abandoned: BTreeSet::new(),
            others: VecDeque::new(),
        })
    }

    /// The paths of this domain's disks, for [`new`](Self::new).
    ///
    /// # Errors
    /// The store fails.
    pub fn list(store: &S) -> Result<Vec<String>, Error> {
        let names = store.directory("device/vbd")?;
        Ok(names.iter().map(|name| format!("device/vbd/{name}")).collect())
    }

    /// Whether [`poll_bus`](Self::poll_bus) may find something to do. It asks the store nothing.
    pub fn has_news(&mut self) -> bool {
        self.bus.has_news() || self.device.fault().is_some() && !self.has_left
    }

    /// The requests.
    pub fn device(&mut self) -> &mut Device<H> {
        &mut self.device
    }

    /// The device on xenbus.
    pub fn bus(&self) -> &xenbus::Frontend<S> {
        &self.bus
    }

    /// What the disk is; none while it is not connected.
    pub fn properties(&self) -> Option<&Properties> {
        self.device.properties()
    }

    /// The ports to wait for: the rings' and the store's.
    pub fn ports(&self) -> impl Iterator<Item = Port> + '_ {
        self.device.ports().chain(self.bus.port())
    }

    /// Does what the backend's state asks for. Waits for the store's answers, and for nothing else.
    ///
    /// # Errors
    /// The store's, and [`Error::Node`] or [`Error::Machine`] where the disk cannot be taken up: it is closed then.
    pub fn poll_bus(&mut self) -> Result<Condition, Error> {
        loop {
            let result = match self.bus.poll()? {
                Step::Wait | Step::Start if self.device.fault().is_some() && !self.has_left => self.leave(),
                Step::Wait => {
                    let is_connected = self.device.properties().is_some();
                    return Ok(if is_connected {
                        Condition::Connected
                    } else {
                        Condition::Waiting
                    });
                }
                Step::Publish => self.publish(),
                Step::Start => self.start(),
                Step::Release => {
                    self.device.disconnect();
                    self.bus.release();
                    Ok(())
                }
                Step::Closed => {
                    if !self.keeps_requests {
                        self.device.cancel(Error::Disconnected);
                    }
                    return Ok(Condition::Closed);
                }
            };
            if let Err(error) = result {
                self.device.cancel(error.clone());
                self.bus.fail(&error.to_string())?;
                return Err(error);
            }
        }
    }

    /// A backend that breaks the protocol is left; once, for closing takes a while.
    fn leave(&mut self) -> Result<(), Error> {
        self.has_left = true;
        self.device.fault().map_or(Ok(()), |fault| Err(Error::Broken(fault)))
    }

    fn publish(&mut self) -> Result<(), Error> {
        self.has_left = false;
        let offer = self.read_backend(Transport::read)?;
        let connection = self
            .device
            .prepare(self.bus.backend_domain(), offer.common(self.options.transport))?;
        self.remove_stale()?;
        let nodes = connection.nodes();
        let nodes: Vec<(&str, String)> = nodes
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        Ok(self.bus.publish(&nodes, State::Initialised)?)
    }

    /// An earlier connection with other queues would be seen beside this one.
    fn remove_stale(&self) -> Result<(), Error> {
        let present = self.bus.store().directory(self.bus.path())?;
        for name in Connection::stale_nodes().filter(|name| present.contains(name)) {
            self.bus.store().remove(&format!("{}/{name}", self.bus.path()))?;
        }
        Ok(())
    }

    fn start(&mut self) -> Result<(), Error> {
        let properties = self.read_backend(Properties::read)??;
        self.device.connect(properties);
        Ok(self.bus.start()?)
    }

    fn read_backend<T>(&self, read: impl FnOnce(&mut crate::negotiation::Lookup<'_>) -> T) -> Result<T, Error> {
        let mut failure = None;
        let mut look_up = |name: &str| {
            self.bus.backend_value(name).unwrap_or_else(|error| {
                failure = Some(error);
                None
            })
        };
        let value = read(&mut look_up);
        failure.map_or(Ok(value), |error| Err(error.into()))
    }

    /// Waits until the disk can be used.
    ///
    /// # Errors
    /// As [`poll_bus`](Self::poll_bus); [`Error::Disconnected`] where the disk is closed, [`Error::TimedOut`] at
    /// `deadline`.
    pub fn connect(&mut self, deadline: Option<Duration>) -> Result<Properties, Error> {
        self.bus.open();
        loop {
            match (self.poll_bus()?, self.device.properties()) {
                (Condition::Connected, Some(properties)) => return Ok(*properties),
                (Condition::Closed, _) => return Err(Error::Disconnected),
                _ => self.wait_for_store(deadline)?,
            }
        }
    }

    /// Closes the disk and waits until the backend has let go. It can be [connected](Self::connect) again.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn close(&mut self, deadline: Option<Duration>) -> Result<(), Error> {
        self.bus.close();
        while self.poll_bus()? != Condition::Closed {
            self.wait_for_store(deadline)?;
        }
        // What the blocking methods have kept was granted to this backend.
        self.spare.clear();
        Ok(())
    }

    /// Closes the disk and connects again: with other rings, and what the backend offers now. Requests without an answer
    /// are made again.
    ///
    /// # Errors
    /// As [`connect`](Self::connect); the requests have ended then.
    pub fn reconnect(&mut self, deadline: Option<Duration>) -> Result<Properties, Error> {
        self.keeps_requests = true;
        let closed = self.close(deadline);
        self.keeps_requests = false;
        let result = closed.and_then(|()| self.connect(deadline));
        if let Err(error) = &result {
            self.device.cancel(error.clone());
        }
        result
    }

    /// After the domain was resumed in another place: connects again as the backend there allows, and makes requests
    /// without an answer again.
    ///
    /// # Errors
    /// The store's.
    pub fn resume(&mut self) -> Result<(), Error> {
        self.device.disconnect();
        Ok(self.bus.resume()?)
    }

    fn wait_for_store(&self, deadline: Option<Duration>) -> Result<(), Error> {
        // A store whose events cannot be waited for is looked at now and then.
        let pause = Duration::from_millis(if self.bus.port().is_some() { 1000 } else { 1 });
        let until = self.hal.now() + pause;
        let ports: Vec<Port> = self.bus.port().into_iter().collect();
        self.hal
            .wait(&ports, Some(deadline.map_or(until, |deadline| deadline.min(until))));
        match deadline {
            Some(deadline) if self.hal.now() >= deadline => Err(Error::TimedOut),
            _ => Ok(()),
        }
    }

    /// Waits for the next completion, follows the backend meanwhile; none at `deadline`, or where no request is in
    /// flight.
    ///
    /// # Errors
    /// As [`poll_bus`](Self::poll_bus).
    pub fn wait(&mut self, deadline: Option<Duration>) -> Result<Option<Completion<H>>, Error> {
        if let Some(completion) = self.others.pop_front() {
            return Ok(Some(completion));
        }
        self.wait_for_any(deadline)
    }

    pub(super) fn wait_for_any(&mut self, deadline: Option<Duration>) -> Result<Option<Completion<H>>, Error> {
        loop {
            if let Some(completion) = self.poll_device() {
                return Ok(Some(completion));
            }
            if self.device.in_flight() == 0 {
                return Ok(None);
            }
            if self.device.arm() {
                continue;
            }
            let ports: Vec<Port> = self.ports().collect();
            let has_event = self.hal.wait(&ports, deadline);
            if let Some(completion) = self.poll_device() {
                return Ok(Some(completion));
            }
            if !has_event && deadline.is_some_and(|deadline| self.hal.now() >= deadline) {
                return Ok(None);
            }
            if self.has_news() {
                self.poll_bus()?;
            }
        }
    }

    /// The next completion that anybody waits for.
    fn poll_device(&mut self) -> Option<Completion<H>> {
        loop {
            let completion = self.device.poll_completion()?;
            if !self.abandoned.remove(&completion.token) {
                return Some(completion);
            }
        }
    }
}

impl<H: Hal, S: Store> core::fmt::Debug for Frontend<H, S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Frontend")
            .field("path", &self.bus.path())
            .finish_non_exhaustive()
    }
}
