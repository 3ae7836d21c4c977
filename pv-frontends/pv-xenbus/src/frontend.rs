//! A device's frontend on xenbus.
mod decide;

pub use decide::{Action, Held, Situation, decide};

use crate::store::{announce_with, drain, parse_other_end, read_other_end};
use crate::{Error, State, Store, WatchId};
use alloc::format;
use alloc::string::{String, ToString};
use core::str::FromStr;
use pv_hal::{DomId, Port};

/// What the driver is to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Nothing now: wait for the store's port.
    Wait,
    /// Read the backend's features, make rings, and call [`Frontend::publish`].
    Publish,
    /// The backend uses the rings: read what it tells of the device, and call [`Frontend::start`].
    Start,
    /// Let go of the rings (what is under way will not be answered) and call [`Frontend::release`]. After that the
    /// device closes, or begins anew with [`Step::Publish`].
    Release,
    /// The device is closed: unplugged, or closed by [`Frontend::close`]. Nothing more happens, unless it is
    /// [opened](Frontend::open) or plugged in again.
    Closed,
}

/// A device's frontend: follows the backend's state, announces this end's. The driver calls [`poll`](Frontend::poll)
/// whenever the store has news and does what the step says.
pub struct Frontend<S: Store> {
    store: S,
    path: String,
    backend_path: String,
    backend_domain: DomId,
    watch: WatchId,
    state: State,
    held: Held,
    is_wanted: bool,
}

impl<S: Store> Frontend<S> {
    /// Takes up the device at `path`, such as `device/vbd/51712`, whose `backend` and `backend-id` the toolstack has
    /// written.
    ///
    /// # Errors
    /// [`Error::BadNode`] for a device without those; the store's.
    pub fn new(store: S, path: &str) -> Result<Self, Error> {
        let (backend_path, backend_domain) = find_backend(&store, path)?;
        let watch = store.watch(&backend_path)?;
        let state = State::from_node(store.read_optional(&format!("{path}/state"))?.as_deref());
        Ok(Self {
            store,
            path: path.into(),
            backend_path,
            backend_domain,
            watch,
            state,
            held: Held::Nothing,
            is_wanted: true,
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

    /// The backend's directory.
    pub fn backend_path(&self) -> &str {
        &self.backend_path
    }

    /// The domain of the backend, to which rings are granted.
    pub fn backend_domain(&self) -> DomId {
        self.backend_domain
    }

    /// The state that this end has announced.
    pub fn state(&self) -> State {
        self.state
    }

    /// A number or the like that the backend tells (`feature-…`, `sectors` …); none if it does not.
    ///
    /// # Errors
    /// The store's; [`Error::BadNode`] for a value that does not parse.
    pub fn backend_value<T: FromStr>(&self, key: &str) -> Result<Option<T>, Error> {
        parse_other_end(&self.store, &self.backend_path, key)
    }

    /// The same of this end's own directory (`mac`, `virtual-device` …).
    ///
    /// # Errors
    /// As [`backend_value`](Self::backend_value).
    pub fn own_value<T: FromStr>(&self, key: &str) -> Result<Option<T>, Error> {
        self.store.read_parsed(&format!("{}/{key}", self.path))
    }

    /// Whether the backend's feature flag `key` is there and not 0. A value that is no number counts as 0.
    ///
    /// # Errors
    /// The store's.
    pub fn has_feature(&self, key: &str) -> Result<bool, Error> {
        match self.backend_value::<u64>(key) {
            Ok(value) => Ok(value.is_some_and(|value| value != 0)),
            Err(Error::BadNode(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether something in the backend's directory has changed since the last call; true at first. Asks the store
    /// nothing, so that a loop over requests may call it each time round and [`poll`](Self::poll) only where it is true
    /// (and after answering a step).
    pub fn has_news(&mut self) -> bool {
        drain(&self.store, &[self.watch])
    }

    /// Looks at the backend's state and says what is to be done; announces states that need nobody's help by itself.
    /// Does not wait, but for the store's answers.
    ///
    /// # Errors
    /// The store's.
    pub fn poll(&mut self) -> Result<Step, Error> {
        drain(&self.store, &[self.watch]);
        // A state announced may lead to the next one, never round in a circle: the backend's is read once.
        let (backend, is_online) = self.read_backend()?;
        loop {
            let now = Situation {
                frontend: self.state,
                backend,
                held: self.held,
                is_wanted: self.is_wanted,
                is_online,
            };
            match decide(&now) {
                Action::Wait => return Ok(Step::Wait),
                Action::Rest => return Ok(Step::Closed),
                Action::Publish => return Ok(Step::Publish),
                Action::Start => return Ok(Step::Start),
                Action::Release => return Ok(Step::Release),
                Action::Announce(state) => self.announce(state)?,
            }
        }
    }

    /// Answers [`Step::Publish`]: writes `keys` below the device's directory and announces `state`, all at once. `state`
    /// is [`State::Initialised`] for most devices, [`State::Connected`] for network devices.
    ///
    /// # Errors
    /// The store's; a device that was taken away meanwhile [is missing](Error::is_missing).
    pub fn publish(&mut self, keys: &[(&str, String)], state: State) -> Result<(), Error> {
        announce_with(&self.store, &self.path, "backend", keys, state)?;
        (self.state, self.held) = (state, Held::Published);
        Ok(())
    }

    /// Answers [`Step::Start`]: the device is in use.
    ///
    /// # Errors
    /// The store's.
    pub fn start(&mut self) -> Result<(), Error> {
        self.held = Held::Started;
        match self.state {
            State::Connected => Ok(()),
            _ => self.announce(State::Connected),
        }
    }

    /// Answers [`Step::Release`]: the driver has let go.
    pub fn release(&mut self) {
        self.held = Held::Nothing;
    }

    /// Asks for the device to be closed; [`poll`](Self::poll) leads to [`Step::Release`] and [`Step::Closed`].
    pub fn close(&mut self) {
        self.is_wanted = false;
    }

    /// Asks for the device to be opened again.
    pub fn open(&mut self) {
        self.is_wanted = true;
    }

    /// Writes why the device does not work where a toolstack looks (`error/PATH/error`), and closes it.
    ///
    /// # Errors
    /// The store's.
    pub fn fail(&mut self, why: &str) -> Result<(), Error> {
        self.close();
        self.store.write(&format!("error/{}/error", self.path), why)
    }

    /// After the domain was resumed in another place: the backend may be another one, and it knows nothing of the rings.
    /// The driver has let go of them and publishes them anew.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn resume(&mut self) -> Result<(), Error> {
        self.held = Held::Nothing;
        let (path, domain) = find_backend(&self.store, &self.path)?;
        self.store.unwatch(self.watch);
        (self.backend_path, self.backend_domain) = (path, domain);
        self.watch = self.store.watch(&self.backend_path)?;
        self.announce(State::Initialising)
    }

    fn announce(&mut self, state: State) -> Result<(), Error> {
        match announce_with(&self.store, &self.path, "backend", &[], state) {
            // The device was taken away, and nobody looks.
            Err(error) if !error.is_missing() => return Err(error),
            _ => self.state = state,
        }
        Ok(())
    }

    fn read_backend(&self) -> Result<(State, bool), Error> {
        let read = |key: &str| read_other_end(&self.store, &self.backend_path, key);
        let state = State::from_node(read("state")?.as_deref());
        // Backends that know of no `online` are there for good.
        let is_online = read("online")?.is_none_or(|value| value.trim() != "0");
        Ok((state, is_online))
    }
}

impl<S: Store> Drop for Frontend<S> {
    fn drop(&mut self) {
        self.store.unwatch(self.watch);
    }
}

fn find_backend<S: Store>(store: &S, path: &str) -> Result<(String, DomId), Error> {
    let needed = |key: &str| format!("{path}/{key}");
    let backend = store.read_optional(&needed("backend"))?;
    let backend = backend.filter(|backend| !backend.is_empty());
    let domain = store.read_parsed(&needed("backend-id"))?;
    Ok((
        backend.ok_or_else(|| Error::BadNode(needed("backend").to_string()))?,
        domain.ok_or_else(|| Error::BadNode(needed("backend-id")))?,
    ))
}
