//! A disk on xenbus: offered to a frontend, served, and taken back.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use pv_hal::{Hal, Port};
use pv_xenbus::backend::{self as xenbus, Step};
use pv_xenbus::{Error, Store};

use super::{Disk, Engine};
use crate::negotiation::{Connection, Properties, Transport};

/// What a backend offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// The most queues, pages of ring and segments.
    pub transport: Transport,
    /// Pages of a frontend that uses the same again and again stay mapped.
    pub persistent: bool,
    /// Barriers are offered, where the disk can flush.
    pub barrier: bool,
}

impl Default for Options {
    /// Everything, with four queues.
    fn default() -> Self {
        Self {
            transport: Transport {
                queues: 4,
                ..Transport::MAX
            },
            persistent: true,
            barrier: true,
        }
    }
}

/// How a backend stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// There is nothing to do: wait for a [port](Backend::ports), the store's, or the disk.
    Idle,
    /// There is more to do at once.
    Busy,
    /// Nobody wants the disk any more: drop it.
    Closed,
}

/// A disk's backend: [`poll`](Self::poll) it whenever a ring, the store or the disk may have news. It never waits for
/// the frontend, whatever that does.
pub struct Backend<H: Hal, S: Store, D: Disk> {
    hal: H,
    bus: xenbus::Backend<S>,
    disk: D,
    options: Options,
    engine: Option<Engine<H>>,
    /// The engine only waits for the disk to give back its jobs.
    is_draining: bool,
}

impl<H: Hal, S: Store, D: Disk> Backend<H, S, D> {
    /// Takes up the device at `path`, such as `backend/vbd/5/51712`, to be served from `disk`.
    ///
    /// # Errors
    /// There is no such device, or the store fails.
    pub fn new(hal: &H, store: S, path: &str, disk: D, options: Options) -> Result<Self, Error> {
        Ok(Self {
            hal: hal.clone(),
            bus: xenbus::Backend::new(store, path)?,
            disk,
            options,
            engine: None,
            is_draining: false,
        })
    }

    /// The device on xenbus.
    pub fn bus(&self) -> &xenbus::Backend<S> {
        &self.bus
    }

    /// The disk.
    pub fn disk(&mut self) -> &mut D {
        &mut self.disk
    }

    /// The ports of the frontend's rings.
    pub fn ports(&self) -> impl Iterator<Item = Port> + '_ {
        self.engine.iter().flat_map(|engine| engine.ports())
    }

    /// Whether a frontend is served now.
    pub fn is_connected(&self) -> bool {
        self.engine.is_some() && !self.is_draining
    }

    /// Follows the frontend's state and the toolstack's wishes, and serves requests, as far as it goes without waiting.
    ///
    /// # Errors
    /// The store's.
    pub fn poll(&mut self) -> Result<Condition, Error> {
        if self.is_draining {
            let is_over = self.engine.as_mut().is_none_or(|engine| engine.drain(&mut self.disk));
            if !is_over {
                return Ok(Condition::Idle);
            }
            self.let_go();
            return self.poll_bus();
        }
        if self.bus.has_news() && self.poll_bus()? == Condition::Closed {
            return Ok(Condition::Closed);
        }
        let Some(engine) = &mut self.engine else {
            return Ok(Condition::Idle);
        };
        let is_busy = engine.poll(&mut self.disk);
        if let Some(broken) = engine.broken() {
            self.fail(&format!("the frontend has broken its ring: {broken}"))?;
            return Ok(Condition::Busy);
        }
        Ok(if is_busy { Condition::Busy } else { Condition::Idle })
    }

    fn poll_bus(&mut self) -> Result<Condition, Error> {
        loop {
            if self.is_draining {
                return Ok(Condition::Idle);
            }
            match self.bus.poll()? {
                Step::Wait => return Ok(Condition::Idle),
                Step::Offer => self.offer()?,
                Step::Connect => self.connect()?,
                Step::Release => self.begin_release(),
                Step::Closed => return Ok(Condition::Closed),
            }
        }
    }

    fn properties(&self) -> Properties {
        let disk = self.disk.geometry();
        Properties {
            sectors: disk.sectors,
            sector_size: disk.sector_size,
            physical_sector_size: disk.physical_sector_size,
            read_only: disk.read_only,
            cdrom: false,
            removable: false,
            flush: disk.flush && !disk.read_only,
            barrier: disk.flush && !disk.read_only && self.options.barrier,
            persistent: self.options.persistent,
            discard: disk.discard.filter(|_| !disk.read_only),
        }
    }

    fn offer(&mut self) -> Result<(), Error> {
        let mut nodes = self.options.transport.common(Transport::MAX).nodes();
        // Frontends that connect at once look for features before the rings are taken up.
        nodes.extend(self.properties().nodes());
        self.bus.offer(&borrowed(&nodes))
    }

    fn connect(&mut self) -> Result<(), Error> {
        match self.take_up() {
            Ok(engine) => {
                self.engine = Some(engine);
                let nodes = self.properties().nodes();
                self.bus.connect(&borrowed(&nodes))
            }
            Err(why) => self.bus.fail(&why),
        }
    }

    fn take_up(&mut self) -> Result<Engine<H>, String> {
        let transport = self.options.transport.common(Transport::MAX);
        let mut failure = None;
        let mut look_up = |name: &str| {
            self.bus.frontend_value(name).unwrap_or_else(|error| {
                failure = Some(error);
                None
            })
        };
        let connection = Connection::read(&mut look_up, &transport);
        if let Some(error) = failure {
            return Err(error.to_string());
        }
        let mut connection = connection.map_err(|bad| format!("the frontend's {bad}"))?;
        connection.persistent &= self.options.persistent;
        let engine = Engine::new(
            &self.hal,
            self.bus.frontend_domain(),
            &connection,
            transport.indirect_segments,
        );
        engine.map_err(|error| format!("the frontend's rings cannot be taken up: {error}"))
    }

    /// The frontend goes, but the disk may still have jobs of it: they end before anybody else may connect, so that
    /// nothing is written behind the next one's back.
    fn begin_release(&mut self) {
        let is_over = self.engine.as_mut().is_none_or(|engine| engine.drain(&mut self.disk));
        if is_over {
            self.let_go();
        } else {
            self.is_draining = true;
        }
    }

    fn let_go(&mut self) {
        self.engine = None;
        self.is_draining = false;
        self.bus.release();
    }

    fn fail(&mut self, why: &str) -> Result<(), Error> {
        self.begin_release();
        self.bus.fail(why)
    }
}

impl<H: Hal, S: Store, D: Disk> core::fmt::Debug for Backend<H, S, D> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Backend")
            .field("path", &self.bus.path())
            .finish_non_exhaustive()
    }
}

fn borrowed(nodes: &[(String, String)]) -> Vec<(&str, String)> {
    nodes
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect()
}
