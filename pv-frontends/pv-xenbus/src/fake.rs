//! A store in memory for tests: the domains of `pv-hal`'s fake machine share it without a ring. With the feature `fake`.
//!
//! It keeps nodes, transactions and watches as xenstored does, but no access lists' meaning and no quotas.
use crate::{Error, Nodes, State, Store, WatchId};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::RefCell;
use pv_hal::fake::Domain;
use pv_hal::{Hal, Port};
use xenstore_proto::{Error as Refusal, Kind, append_part, path};

/// The store; clones stand for the same one.
#[derive(Clone, Default)]
pub struct LocalStore(Rc<RefCell<Contents>>);

/// A domain's connection to a [`LocalStore`]; clones stand for the same one.
#[derive(Clone)]
pub struct LocalClient {
    store: LocalStore,
    domain: Domain,
    port: Port,
}

#[derive(Clone, Default)]
struct Node {
    value: Vec<u8>,
    /// As it was set, in the format of the wire.
    permissions: Vec<u8>,
}

type Tree = BTreeMap<String, Node>;

#[derive(Default)]
struct Contents {
    tree: Tree,
    generation: u64,
    transactions: BTreeMap<u32, Open>,
    watches: BTreeMap<u32, Watch>,
    next: u32,
    conflicts: usize,
    refusals: Vec<(u16, Kind, Refusal)>,
}

/// A transaction under way: a copy of the tree, and what it has changed.
struct Open {
    tree: Tree,
    generation: u64,
    changed: Vec<String>,
}

struct Watch {
    domain: Domain,
    port: Port,
    path: String,
    /// Put before a relative path.
    prefix: String,
    events: VecDeque<String>,
}

impl LocalStore {
    /// An empty store.
    pub fn new() -> LocalStore {
        LocalStore::default()
    }

    /// A domain's connection. Its [`port`](Store::port) is that of the domain's store ring.
    pub fn client(&self, domain: &Domain) -> LocalClient {
        let port = domain.store_ring().map_or(Port(0), |(_, port)| port);
        LocalClient {
            store: self.clone(),
            domain: domain.clone(),
            port,
        }
    }

    /// What a toolstack does to make a device: both directories of class `kind` (`vbd`, `vif` …) and number `device`,
    /// `keys` on the backend's side, both states [`State::Initialising`].
    pub fn add_device(&self, kind: &str, device: u32, front: &Domain, back: &Domain, keys: &[(&str, &str)]) {
        let front_path = format!("/local/domain/{}/device/{kind}/{device}", front.id());
        let back_path = format!("/local/domain/{}/backend/{kind}/{}/{device}", back.id(), front.id());
        let (front_id, back_id) = (front.id().to_string(), back.id().to_string());
        let initial = State::Initialising.to_string();
        let front_nodes = [
            ("backend", &*back_path),
            ("backend-id", &*back_id),
            ("state", &*initial),
        ];
        let back_nodes = [
            ("frontend", &*front_path),
            ("frontend-id", &*front_id),
            ("online", "1"),
            ("state", &*initial),
        ];
        for (key, value) in front_nodes {
            self.set(&format!("{front_path}/{key}"), value);
        }
        for (key, value) in back_nodes.iter().chain(keys) {
            self.set(&format!("{back_path}/{key}"), value);
        }
    }

    /// What a toolstack does to take a device away, given the backend's directory: `online` 0 and the backend's state
    /// [`State::Closing`].
    pub fn unplug(&self, backend_path: &str, back: &Domain) {
        let path = absolute(backend_path, &prefix_of(back));
        self.set(&format!("{path}/online"), "0");
        self.set(&format!("{path}/state"), &State::Closing.to_string());
    }

    /// Sets a node, as domain 0 would.
    pub fn set(&self, path: &str, value: &str) {
        let mut contents = self.0.borrow_mut();
        put(&mut contents.tree, path, value.as_bytes());
        contents.note_change(path);
    }

    /// A node's value, as domain 0 would read it.
    pub fn get(&self, path: &str) -> Option<String> {
        let contents = self.0.borrow();
        let node = contents.tree.get(path)?;
        Some(String::from_utf8_lossy(&node.value).into_owned())
    }

    /// Removes a node and all below it, as domain 0 would.
    pub fn remove(&self, path: &str) {
        let mut contents = self.0.borrow_mut();
        if take_out(&mut contents.tree, path) {
            contents.note_change(path);
        }
    }

    /// Makes the next `count` transactions find that another change came in between.
    pub fn make_conflicts(&self, count: usize) {
        self.0.borrow_mut().conflicts = count;
    }

    /// Makes the next request of this kind by `domain` fail.
    pub fn refuse(&self, domain: &Domain, kind: Kind, error: xenstore_proto::Error) {
        self.0.borrow_mut().refusals.push((domain.id().0, kind, error));
    }

    /// Number of watches, of all domains.
    pub fn watch_count(&self) -> usize {
        self.0.borrow().watches.len()
    }
}

impl Contents {
    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// Tells everybody who watches.
    fn note_change(&mut self, changed: &str) {
        self.generation += 1;
        for watch in self.watches.values_mut() {
            let full = absolute(&watch.path, &watch.prefix);
            let below = path::is_within(changed.as_bytes(), full.as_bytes());
            // A node that goes takes those below it along.
            if below || path::is_within(full.as_bytes(), changed.as_bytes()) {
                let told = if below { changed } else { &full };
                let told = match watch.path.starts_with('/') {
                    true => told,
                    false => told.strip_prefix(&watch.prefix).unwrap_or(told),
                };
                watch.push(told.into());
            }
        }
    }

    fn refusal(&mut self, domain: u16, kind: Kind) -> Result<(), Refusal> {
        let due = self
            .refusals
            .iter()
            .position(|entry| (entry.0, entry.1) == (domain, kind));
        match due {
            Some(index) => Err(self.refusals.remove(index).2),
            None => Ok(()),
        }
    }

    fn end_transaction(&mut self, number: u32, commits: bool) -> Result<(), Refusal> {
        let open = self.transactions.remove(&number).ok_or(Refusal::ENOENT)?;
        if !commits {
            return Ok(());
        }
        if self.conflicts > 0 {
            self.conflicts -= 1;
            return Err(Refusal::EAGAIN);
        }
        if open.generation != self.generation {
            return Err(Refusal::EAGAIN);
        }
        self.tree = open.tree;
        open.changed.iter().for_each(|path| self.note_change(path));
        Ok(())
    }

    /// Reads or changes nodes, of the store or of a transaction's copy.
    fn handle(&mut self, transaction: u32, kind: Kind, path: &str, tail: &[u8]) -> Result<Vec<u8>, Refusal> {
        let tree = match transaction {
            0 => &mut self.tree,
            number => &mut self.transactions.get_mut(&number).ok_or(Refusal::ENOENT)?.tree,
        };
        let node = tree.get(path);
        match kind {
            Kind::READ => return Ok(node.ok_or(Refusal::ENOENT)?.value.clone()),
            Kind::GET_PERMS => return Ok(node.ok_or(Refusal::ENOENT)?.permissions.clone()),
            Kind::DIRECTORY => return children(tree, path).ok_or(Refusal::ENOENT),
            Kind::WRITE => put(tree, path, tail),
            Kind::MKDIR => make(tree, path),
            Kind::SET_PERMS => tree.get_mut(path).ok_or(Refusal::ENOENT)?.permissions = tail.to_vec(),
            Kind::RM if take_out(tree, path) => {}
            Kind::RM => return Err(Refusal::ENOENT),
            _ => return Err(Refusal::ENOSYS),
        }
        match self.transactions.get_mut(&transaction) {
            Some(open) => open.changed.push(path.into()),
            None => self.note_change(path),
        }
        Ok(xenstore_proto::OK.to_vec())
    }
}

impl Watch {
    fn push(&mut self, path: String) {
        if !self.events.contains(&path) {
            self.events.push_back(path);
        }
        self.domain.machine().raise(self.domain.id(), self.port);
    }
}

impl Nodes for LocalClient {
    fn call(&self, kind: Kind, parts: &[&str], tail: &[u8]) -> Result<Vec<u8>, Error> {
        self.call_within(0, kind, parts, tail)
    }
}

impl Store for LocalClient {
    fn call_within(&self, transaction: u32, kind: Kind, parts: &[&str], tail: &[u8]) -> Result<Vec<u8>, Error> {
        let mut contents = self.store.0.borrow_mut();
        contents.refusal(self.domain.id().0, kind)?;
        match (kind, parts) {
            (Kind::TRANSACTION_START, _) => {
                let number = contents.number();
                let open = Open {
                    tree: contents.tree.clone(),
                    generation: contents.generation,
                    changed: Vec::new(),
                };
                contents.transactions.insert(number, open);
                Ok(format!("{number}\0").into_bytes())
            }
            (Kind::TRANSACTION_END, [verdict]) => {
                contents.end_transaction(transaction, *verdict == "T")?;
                Ok(xenstore_proto::OK.to_vec())
            }
            (_, [path, ..]) => {
                let path = absolute(path, &prefix_of(&self.domain));
                Ok(contents.handle(transaction, kind, &path, tail)?)
            }
            _ => Err(Refusal::EINVAL.into()),
        }
    }

    fn watch(&self, path: &str) -> Result<WatchId, Error> {
        let mut contents = self.store.0.borrow_mut();
        contents.refusal(self.domain.id().0, Kind::WATCH)?;
        let number = contents.number();
        let mut watch = Watch {
            domain: self.domain.clone(),
            port: self.port,
            path: path.into(),
            prefix: prefix_of(&self.domain),
            events: VecDeque::new(),
        };
        watch.push(path.into());
        contents.watches.insert(number, watch);
        Ok(WatchId(number))
    }

    fn unwatch(&self, watch: WatchId) {
        self.store.0.borrow_mut().watches.remove(&watch.0);
    }

    fn take_event(&self, watch: WatchId) -> Option<String> {
        self.domain.take_event(self.port);
        self.store.0.borrow_mut().watches.get_mut(&watch.0)?.events.pop_front()
    }

    fn port(&self) -> Option<Port> {
        Some(self.port)
    }
}

fn prefix_of(domain: &Domain) -> String {
    format!("/local/domain/{}/", domain.id())
}

fn absolute(path: &str, prefix: &str) -> String {
    match path.starts_with(['/', '@']) {
        true => path.into(),
        false => format!("{prefix}{path}"),
    }
}

/// Makes a node and those above it.
fn make(tree: &mut Tree, path: &str) {
    let ends = path.char_indices().filter(|&(at, byte)| byte == '/' && at > 0);
    for end in ends.map(|(at, _)| at).chain([path.len()]) {
        tree.entry(path[..end].into()).or_default();
    }
}

fn put(tree: &mut Tree, path: &str, value: &[u8]) {
    make(tree, path);
    if let Some(node) = tree.get_mut(path) {
        node.value = value.to_vec();
    }
}

/// Removes a node and those below it; false if there was none.
fn take_out(tree: &mut Tree, path: &str) -> bool {
    let before = tree.len();
    tree.retain(|key, _| !path::is_within(key.as_bytes(), path.as_bytes()));
    tree.len() != before
}

/// Names of a node's children; none if there is no such node.
fn children(tree: &Tree, path: &str) -> Option<Vec<u8>> {
    let prefix = format!("{}/", path.trim_end_matches('/'));
    let mut list = Vec::new();
    for key in tree.keys() {
        if let Some(name) = key.strip_prefix(&prefix)
            && !name.contains('/')
            && !name.is_empty()
        {
            append_part(&mut list, name.as_bytes());
        }
    }
    (path == "/" || !list.is_empty() || tree.contains_key(path)).then_some(list)
}
