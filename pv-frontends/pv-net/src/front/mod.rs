//! The guest's end of a network device.

mod config;
mod queue;
mod receive;
mod transmit;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use pv_hal::{Hal, Port};
use pv_xenbus::frontend::{Frontend, Step};
use pv_xenbus::{State, Store};

pub use config::Config;
use queue::Queue;

use crate::interface::{Interface, Received, SendError, Statistics, Status};
use crate::queues::Queues;
use crate::{Error, Features, Mac, Meta, parse_mac};

/// Ethernet's usual size, where the toolstack does not say otherwise.
const USUAL_MTU: usize = 1500;

/// A frontend. Dropping it takes the grants back and closes the event channels.
pub struct Front<H: Hal, S: Store> {
    hal: H,
    xenbus: Frontend<S>,
    config: Config,
    queues: Queues<Queue<H>>,
    is_up: bool,
    is_closed: bool,
    mac: Mac,
    mtu: usize,
    /// The store has changed and nobody has looked yet.
    has_news: bool,
    /// Why the device must be given up: the backend's mistake.
    trouble: Option<&'static str>,
}

impl<H: Hal, S: Store> Front<H, S> {
    /// Takes up the device at `path`, such as `device/vif/0`.
    ///
    /// # Errors
    /// The store's; the device has no hardware address.
    pub fn new(hal: &H, store: S, path: &str, config: Config) -> Result<Self, Error> {
        let xenbus = Frontend::new(store, path)?;
        let mac: Option<String> = match xenbus.own_value("mac")? {
            None => xenbus.backend_value("mac")?,
            own => own,
        };
        let mac = mac
            .as_deref()
            .and_then(parse_mac)
            .ok_or(Error::Peer("the device has no hardware address"))?;
        let mtu = xenbus.own_value("mtu").unwrap_or_default().unwrap_or(USUAL_MTU);
        Ok(Self {
            hal: hal.clone(),
            xenbus,
            config: config.bounded(),
            queues: Queues::new(),
            is_up: false,
            is_closed: false,
            mac,
            mtu: mtu.clamp(68, 65521),
            has_news: true,
            trouble: None,
        })
    }

    /// The paths of all network devices of this domain.
    ///
    /// # Errors
    /// The store's.
    pub fn list(store: &S) -> Result<Vec<String>, Error> {
        let mut paths: Vec<String> = store
            .directory("device/vif")?
            .iter()
            .map(|name| format!("device/vif/{name}"))
            .collect();
        paths.sort();
        Ok(paths)
    }

    /// Whether the backend's link is there (`carrier`): it is unless the backend says no.
    ///
    /// # Errors
    /// The store's.
    pub fn has_carrier(&self) -> Result<bool, Error> {
        Ok(self.xenbus.backend_value::<u32>("carrier").unwrap_or_default() != Some(0))
    }

    /// Queues in use.
    pub fn queue_count(&self) -> usize {
        self.queues.list.len()
    }

    /// Asks for the device to be closed; [`poll`](Interface::poll) leads to [`Status::Closed`].
    pub fn close(&mut self) {
        self.xenbus.close();
        self.has_news = true;
    }

    /// Opens a closed device again.
    pub fn open(&mut self) {
        self.xenbus.open();
        (self.is_closed, self.has_news) = (false, true);
    }

    /// After the domain was resumed elsewhere: connects anew, maybe to another backend. Frames under way are lost.
    ///
    /// # Errors
    /// The store's.
    pub fn resume(&mut self) -> Result<(), Error> {
        self.release();
        (self.is_closed, self.has_news) = (false, true);
        Ok(self.xenbus.resume()?)
    }

    fn publish(&mut self) -> Result<(), Error> {
        let xenbus = &self.xenbus;
        self.queues.peer = Features::read(|key| xenbus.has_feature(key))?;
        let is_split = self.config.split_channels && xenbus.has_feature("feature-split-event-channels")?;
        let most = xenbus
            .backend_value::<usize>("multi-queue-max-queues")
            .unwrap_or_default();
        let count = self.config.queues.min(most.unwrap_or(1)).max(1);
        let peer = xenbus.backend_domain();
        let queues: Result<Vec<_>, _> = (0..count)
            .map(|_| Queue::new(&self.hal, peer, &self.config, is_split))
            .collect();
        self.queues.list = queues?;
        self.forget_keys()?;
        let mut keys: Vec<(String, String)> = Vec::new();
        if most.is_some() {
            keys.push(("multi-queue-num-queues".into(), count.to_string()));
        }
        for (index, queue) in self.queues.list.iter().enumerate() {
            // A single queue writes its keys where a backend that knows no queues looks for them.
            let prefix = if count == 1 {
                String::new()
            } else {
                format!("queue-{index}/")
            };
            keys.extend(queue.keys(&prefix));
        }
        let fixed = [
            ("request-rx-copy", "1".to_string()),
            ("feature-rx-notify", "1".to_string()),
        ];
        let features = self.config.features.keys().into_iter().chain(fixed);
        keys.extend(features.map(|(key, value)| (key.to_string(), value)));
        let keys: Vec<(&str, String)> = keys.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        self.xenbus.publish(&keys, State::Connected)?;
        self.queues.flush();
        Ok(())
    }

    /// Removes keys of an earlier connection that a backend would take for this one's.
    fn forget_keys(&self) -> Result<(), Error> {
        let (store, path) = (self.xenbus.store(), self.xenbus.path());
        let is_stale =
            |name: &str| name.starts_with("queue-") || name.starts_with("event-channel") || name.ends_with("-ring-ref");
        for name in store.directory(path)?.iter().filter(|name| is_stale(name)) {
            store.remove(&format!("{path}/{name}"))?;
        }
        Ok(())
    }

    /// Lets go of rings, grants and ports.
    fn release(&mut self) {
        self.is_up = false;
        self.queues.release();
    }

    fn follow(&mut self) -> Result<(), Error> {
        loop {
            match self.xenbus.poll()? {
                Step::Wait => return Ok(()),
                Step::Publish => {
                    self.is_closed = false;
                    if let Err(error) = self.publish() {
                        self.release();
                        self.xenbus.fail(&error.to_string())?;
                        return Err(error);
                    }
                }
                Step::Start => {
                    self.xenbus.start()?;
                    self.is_up = true;
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
        log::error!("{}: {why}", self.xenbus.path());
        (self.trouble, self.is_up) = (Some(why), false);
    }
}

impl<H: Hal, S: Store> Interface for Front<H, S> {
    fn poll(&mut self) -> Result<Status, Error> {
        if let Some(why) = self.trouble.take() {
            self.release();
            self.xenbus.fail(why)?;
            self.follow()?;
        } else if self.xenbus.has_news() || self.has_news {
            self.has_news = false;
            self.follow()?;
        }
        Ok(match (self.is_up, self.is_closed) {
            (true, _) => Status::Up,
            (_, true) => Status::Closed,
            _ => Status::Connecting,
        })
    }

    fn try_send(&mut self, frame: &[u8], meta: Meta) -> Result<(), SendError> {
        if !self.is_up {
            return Err(SendError::Down);
        }
        let result = self.queues.try_send(frame, meta);
        if result == Err(SendError::Down) {
            self.give_up("the backend broke its transmit ring");
        }
        result
    }

    fn has_room(&mut self, len: usize) -> bool {
        self.is_up && self.queues.has_room(len)
    }

    fn flush(&mut self) {
        self.queues.flush();
    }

    fn try_receive(&mut self, into: &mut [u8]) -> Option<Received> {
        if !self.is_up {
            return None;
        }
        let Ok(received) = self.queues.try_receive(into) else {
            self.give_up("the backend broke its receive ring");
            return None;
        };
        received
    }

    fn arm(&mut self, wants_room: bool) -> bool {
        self.has_news |= self.xenbus.has_news();
        let has_news = self.trouble.is_some() || self.has_news;
        let queues = self.queues.arm(wants_room);
        if queues.is_err() && self.is_up {
            self.give_up("the backend broke a ring");
        }
        has_news | queues.unwrap_or(true)
    }

    fn ports(&self) -> Vec<Port> {
        self.queues.ports().chain(self.xenbus.port()).collect()
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
        self.mtu
    }

    fn statistics(&self) -> Statistics {
        self.queues.statistics()
    }
}
