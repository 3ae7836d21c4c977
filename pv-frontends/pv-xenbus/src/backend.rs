//! A device's backend on xenbus.
mod decide;

pub use decide::{Action, Held, Situation, decide};

use crate::store::{announce_with, drain, parse_other_end, read_other_end};
use crate::{Error, State, Store, WatchId};
use alloc::format;
use alloc::string::String;
use core::str::FromStr;
use pv_hal::{DomId, Port};

/// What the backend's driver is to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Nothing now: wait for the store's port.
    Wait,
    /// Call [`Backend::offer`] with the features.
    Offer,
    /// Read where the frontend's rings are, take them up, and call [`Backend::connect`]; or [`Backend::fail`].
    Connect,
    /// Let go of the frontend's rings and call [`Backend::release`].
    Release,
    /// The device is closed and nobody wants it any more: drop it.
    Closed,
}

/// A device's backend: follows the frontend's state and the toolstack's wishes, announces this end's. The driver calls
/// [`poll`](Backend::poll) whenever the store has news and does what the step says.
pub struct Backend<S: Store> {
    store: S,
    path: String,
    frontend_path: String,
    frontend_domain: DomId,
    watches: [WatchId; 3],
    held: Held,
}

impl<S: Store> Backend<S> {
    /// Takes up the device at `path`, such as `backend/vbd/5/51712`, whose `frontend` and `frontend-id` the toolstack
    /// has written.
    ///
    /// # Errors
    /// [`Error::BadNode`] for a device without those; the store's.
    pub fn new(store: S, path: &str) -> Result<Self, Error> {
        let missing = |key: &str| Error::BadNode(format!("{path}/{key}"));
        let frontend_path = store.read_optional(&format!("{path}/frontend"))?;
        let frontend_path = frontend_path
            .filter(|path| !path.is_empty())
            .ok_or_else(|| missing("frontend"))?;
        let frontend_domain = store.read_parsed(&format!("{path}/frontend-id"))?;
        let frontend_domain = frontend_domain.ok_or_else(|| missing("frontend-id"))?;
        // Only the states: whoever drives the frontend may write anything else as often as it likes.
        let watches = [
            store.watch(&format!("{frontend_path}/state"))?,
            store.watch(&format!("{path}/state"))?,
            store.watch(&format!("{path}/online"))?,
        ];
        Ok(Self {
            store,
            path: path.into(),
            frontend_path,
            frontend_domain,
            watches,
            held: Held::Nothing,
        })
    }

    /// The store.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The port to wait for between polls.
    pub fn port(&self) -> Option<Port> {
        self.store.port()
    }

    /// The device's own directory.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The frontend's directory.
    pub fn frontend_path(&self) -> &str {
        &self.frontend_path
    }

    /// The domain of the frontend, whose grants are mapped.
    pub fn frontend_domain(&self) -> DomId {
        self.frontend_domain
    }

    /// A number or the like that the frontend tells (`ring-ref`, `event-channel` …); none if it does not. The frontend
    /// may write anything: read once, check, use the copy.
    ///
    /// # Errors
    /// The store's; [`Error::BadNode`] for a value that does not parse.
    pub fn frontend_value<T: FromStr>(&self, key: &str) -> Result<Option<T>, Error> {
        parse_other_end(&self.store, &self.frontend_path, key)
    }

    /// The same of this end's own directory (`params`, `mode`, `mac` …).
    ///
    /// # Errors
    /// As [`frontend_value`](Self::frontend_value).
    pub fn own_value<T: FromStr>(&self, key: &str) -> Result<Option<T>, Error> {
        self.store.read_parsed(&format!("{}/{key}", self.path))
    }

    /// Whether one of the states, or whether the device is wanted, has changed since the last call; true at first. Asks
    /// the store nothing, so that a loop over requests may call it each time round and [`poll`](Self::poll) only where
    /// it is true (and after answering a step).
    pub fn has_news(&mut self) -> bool {
        drain(&self.store, &self.watches)
    }

    /// Looks at both states and says what is to be done; announces states that need nobody's help by itself. Does not
    /// wait, but for the store's answers.
    ///
    /// # Errors
    /// The store's.
    pub fn poll(&mut self) -> Result<Step, Error> {
        drain(&self.store, &self.watches);
        let mut now = self.situation()?;
        loop {
            match decide(&now) {
                Action::Wait => return Ok(Step::Wait),
                Action::Rest => return Ok(Step::Closed),
                Action::Offer => return Ok(Step::Offer),
                Action::Connect => return Ok(Step::Connect),
                Action::Release => return Ok(Step::Release),
                Action::Announce(state) => {
                    self.announce(state)?;
                    now.backend = state;
                }
            }
        }
    }

    /// Answers [`Step::Offer`]: writes `keys` below the device's directory and announces [`State::InitWait`], all at
    /// once.
    ///
    /// # Errors
    /// The store's.
    pub fn offer(&mut self, keys: &[(&str, String)]) -> Result<(), Error> {
        announce_with(&self.store, &self.path, "frontend", keys, State::InitWait)?;
        self.held = Held::Offered;
        Ok(())
    }

    /// Answers [`Step::Connect`]: the rings are served; writes `keys` (`sectors` …) and announces [`State::Connected`],
    /// all at once.
    ///
    /// # Errors
    /// The store's.
    pub fn connect(&mut self, keys: &[(&str, String)]) -> Result<(), Error> {
        announce_with(&self.store, &self.path, "frontend", keys, State::Connected)?;
        self.held = Held::Running;
        Ok(())
    }

    /// Answers [`Step::Release`]: the driver has let go.
    pub fn release(&mut self) {
        self.held = Held::Nothing;
    }

    /// Writes why the device does not work where a toolstack looks (`error/PATH/error`) and announces
    /// [`State::Closing`]; the driver has let go of the rings. The frontend may begin anew after it has closed.
    ///
    /// # Errors
    /// The store's.
    pub fn fail(&mut self, why: &str) -> Result<(), Error> {
        self.held = Held::Nothing;
        self.announce(State::Closing)?;
        self.store.write(&format!("error/{}/error", self.path), why)
    }

    fn announce(&self, state: State) -> Result<(), Error> {
        match announce_with(&self.store, &self.path, "frontend", &[], state) {
            // The device was taken away, and nobody looks.
            Err(error) if error.is_missing() => Ok(()),
            result => result,
        }
    }

    fn situation(&self) -> Result<Situation, Error> {
        let read = |path: &str, key: &str| self.store.read_optional(&format!("{path}/{key}"));
        Ok(Situation {
            backend: State::from_node(read(&self.path, "state")?.as_deref()),
            frontend: State::from_node(read_other_end(&self.store, &self.frontend_path, "state")?.as_deref()),
            held: self.held,
            is_online: read(&self.path, "online")?.is_none_or(|value| value.trim() != "0"),
        })
    }
}

impl<S: Store> Drop for Backend<S> {
    fn drop(&mut self) {
        for watch in self.watches {
            self.store.unwatch(watch);
        }
    }
}
