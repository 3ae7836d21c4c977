//! The driver domain's end of a network device.
//!
//! What the guest sends comes out of [`try_receive`](Interface::try_receive), what the guest is to receive goes into
//! [`try_send`](Interface::try_send).

mod config;
mod control;
mod queue;
mod receive;
mod stage;
mod transmit;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use pv_hal::{DomId, GrantRef, Hal, Port};
use pv_xenbus::Store;
use pv_xenbus::backend::{Backend, Step};

pub use config::Config;
use control::Control;
use queue::{Place, Queue};

use crate::interface::{Interface, Received, SendError, Statistics, Status};
use crate::queues::Queues;
use crate::{Error, Features, Mac, Meta, parse_mac};

/// A backend. Dropping it unmaps the guest's rings and closes the event channels.
pub struct Back<H: Hal, S: Store> {
    hal: H,
    xenbus: Backend<S>,
    config: Config,
    queues: Queues<Queue<H>>,
    control: Option<Control<H>>,
    is_closed: bool,
    mac: Mac,
    /// The store has changed and nobody has looked yet.
    has_news: bool,
    /// Why the frontend must be given up: its mistake.
    trouble: Option<&'static str>,
}

impl<H: Hal, S: Store> Back<H, S> {
    /// Takes up the device at `path`, such as `backend/vif/5/0`.
    ///
    /// # Errors
    /// The store's; the device has no hardware address.
    pub fn new(hal: &H, store: S, path: &str, config: Config) -> Result<Self, Error> {
        let xenbus = Backend::new(store, path)?;
        let mac: Option<String> = xenbus.own_value("mac")?;
        let mac = mac
            .as_deref()
            .and_then(parse_mac)
            .ok_or(Error::Peer("the device has no hardware address"))?;
        Ok(Self {
            hal: hal.clone(),
            xenbus,
            config: config.bounded(),
            queues: Queues::new(),
            control: None,
            is_closed: false,
            mac,
            has_news: true,
            trouble: None,
        })
    }

    /// The guest.
    pub fn frontend_domain(&self) -> DomId {
        self.xenbus.frontend_domain()
    }

    /// Queues that the guest uses; 0 while it is not connected.
    pub fn queue_count(&self) -> usize {
        self.queues.list.len()
    }

    fn offer(&mut self) -> Result<(), Error> {
        let flag = |value: bool| String::from(if value { "1" } else { "0" });
        let mut keys = self.config.features.keys();
        keys.extend([
            ("feature-rx-copy", flag(true)),
            ("feature-rx-flip", flag(false)),
            ("feature-split-event-channels", flag(self.config.split_channels)),
            ("multi-queue-max-queues", self.config.queues.to_string()),
        ]);
        Ok(self.xenbus.offer(&keys)?)
    }

    fn connect(&mut self) -> Result<(), Error> {
        let xenbus = &self.xenbus;
        let flag = |key: &str| -> Result<bool, Error> {
            Ok(xenbus
                .frontend_value::<u32>(key)
                .unwrap_or_default()
                .is_some_and(|value| value != 0))
        };
        if !flag("request-rx-copy")? {
            return Err(Error::Peer("the frontend does not ask for packets to be copied"));
        }
        self.queues.peer = Features::read(flag)?;
        let count = xenbus.frontend_value("multi-queue-num-queues")?.unwrap_or(1);
        if !(1..=self.config.queues).contains(&count) {
            return Err(Error::Peer(
                "the frontend asks for more queues than there are, or for none",
            ));
        }
        let (hal, peer) = (&self.hal, xenbus.frontend_domain());
        let mut queues = Vec::with_capacity(count);
        for index in 0..count {
            let prefix = if count == 1 {
                String::new()
            } else {
                format!("queue-{index}/")
            };
            queues.push(Queue::new(hal, peer, &self.find_queue(&prefix)?)?);
        }
        let control = match (
            xenbus.frontend_value("ctrl-ring-ref")?,
            xenbus.frontend_value("event-channel-ctrl")?,
        ) {
            (Some(ring), Some(port)) => Some(Control::new(hal, peer, GrantRef(ring), Port(port))?),
            _ => None,
        };
        self.xenbus.connect(&[])?;
        (self.queues.list, self.control) = (queues, control);
        Ok(())
    }

    fn find_queue(&self, prefix: &str) -> Result<Place, Error> {
        let number = |key: &str| self.xenbus.frontend_value::<u32>(&format!("{prefix}{key}"));
        let needed = |key: &str| number(key)?.ok_or(Error::Peer("the frontend names no ring or port"));
        let (transmit, receive) = (number("event-channel-tx")?, number("event-channel-rx")?);
        let (transmit_port, receive_port) = match (transmit, receive) {
            (Some(transmit), Some(receive)) if self.config.split_channels => (Port(transmit), Some(Port(receive))),
            _ => (Port(needed("event-channel")?), None),
        };
        Ok(Place {
            transmit_ring: GrantRef(needed("tx-ring-ref")?),
            receive_ring: GrantRef(needed("rx-ring-ref")?),
            transmit_port,
            receive_port,
        })
    }

    /// Lets go of the guest's rings and ports.
    fn release(&mut self) {
        self.control = None;
        self.queues.release();
    }

    fn follow(&mut self) -> Result<(), Error> {
        loop {
            match self.xenbus.poll()? {
                Step::Wait => return Ok(()),
                Step::Offer => {
                    self.is_closed = false;
                    self.offer()?;
                }
                Step::Connect => {
                    if let Err(error) = self.connect() {
                        // Whatever is missing, this guest's device is what fails, and nothing else.
                        log::warn!("{}: {error}", self.xenbus.path());
                        self.release();
                        self.xenbus.fail(&error.to_string())?;
                    }
                }
                Step::Release => {
                    self.release();
                    self.xenbus.release();
                }
                Step::Closed => {
                    self.is_closed = true;
                    return Ok(());
                }
            }
        }
    }

    fn give_up(&mut self, why: &'static str) {
        log::warn!("{}: {why}", self.xenbus.path());
        self.trouble = Some(why);
    }

    fn is_up(&self) -> bool {
        !self.queues.list.is_empty() && self.trouble.is_none()
    }
}

impl<H: Hal, S: Store> Interface for Back<H, S> {
    fn poll(&mut self) -> Result<Status, Error> {
        if let Some(why) = self.trouble.take() {
            self.release();
            self.xenbus.fail(why)?;
            self.follow()?;
        } else if self.xenbus.has_news() || self.has_news {
            self.has_news = false;
            self.follow()?;
        }
        Ok(match (self.is_up(), self.is_closed) {
            (true, _) => Status::Up,
            (_, true) => Status::Closed,
            _ => Status::Connecting,
        })
    }

    fn try_send(&mut self, frame: &[u8], meta: Meta) -> Result<(), SendError> {
        if !self.is_up() {
            return Err(SendError::Down);
        }
        let result = self.queues.try_send(frame, meta);
        if result == Err(SendError::Down) {
            self.give_up("the frontend broke its receive ring");
        }
        result
    }

    fn has_room(&mut self, len: usize) -> bool {
        self.is_up() && self.queues.has_room(len)
    }

    fn flush(&mut self) {
        self.queues.flush();
    }

    fn try_receive(&mut self, into: &mut [u8]) -> Option<Received> {
        if !self.is_up() {
            return None;
        }
        let Ok(received) = self.queues.try_receive(into) else {
            self.give_up("the frontend broke its transmit ring");
            return None;
        };
        received
    }

    fn arm(&mut self, wants_room: bool) -> bool {
        self.has_news |= self.xenbus.has_news();
        let has_news = self.has_news || self.trouble.is_some();
        let control = self.control.as_mut().map_or(Ok(false), Control::serve);
        let queues = self.queues.arm(wants_room);
        if (control.is_err() || queues.is_err()) && self.is_up() {
            self.give_up("the frontend broke a ring");
        }
        has_news | control.unwrap_or(true) | queues.unwrap_or(true)
    }

    fn ports(&self) -> Vec<Port> {
        let control = self.control.iter().map(Control::port);
        self.queues.ports().chain(control).chain(self.xenbus.port()).collect()
    }

    fn wait(&mut self, wants_room: bool, deadline: Option<Duration>) {
        self.flush();
        if !self.arm(wants_room) {
            self.hal.wait(&self.ports(), deadline);
        }
    }

    fn now(&self) -> Duration {
        self.hal.now()
    }

    fn peer_features(&self) -> Features {
        self.queues.peer
    }

    fn mac(&self) -> Mac {
        self.mac
    }

    fn mtu(&self) -> usize {
        self.config.mtu
    }

    fn statistics(&self) -> Statistics {
        self.queues.statistics()
    }
}
