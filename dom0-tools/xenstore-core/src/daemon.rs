//! The daemon's whole state, and what changes it from outside: clients that come and go, domains that end.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use xenstore_proto::{Access, INTRODUCE_DOMAIN, Permission, RELEASE_DOMAIN};

use crate::access::{Holder, Identity};
use crate::connection::{Connection, Link, OwnWatch};
use crate::platform::Platform;
use crate::quota::Quotas;
use crate::record::{self, Tag};
use crate::space::{Counts, Space, count_all};
use crate::tree::{Node, Permissions, Tree};
use crate::watch::{Watch, Watches};

/// A domain that the daemon knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// See [`Holder::since`].
    pub since: u64,
    /// Its end was told already, or it is being shut down.
    pub shutdown: bool,
    /// Its ring, once it was introduced.
    pub ring: Option<Introduced>,
    /// The domain that it acts for.
    pub target: Option<u16>,
}

/// A domain's ring as it was introduced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduced {
    /// The slot of its connection.
    pub slot: usize,
    /// The frame that was named.
    pub frame: u64,
    /// The domain's own port.
    pub remote_port: u32,
}

/// A transaction that others must not make fail again.
pub struct Reservation {
    /// The client's slot.
    pub slot: usize,
    /// The transaction.
    pub transaction: u32,
    /// When the reservation ends at the latest, by [`Platform::now`].
    pub until: Duration,
}

/// Commits that may fail in a row before a client's next transaction is reserved.
pub const PATIENCE: u32 = 3;
/// How long a reserved transaction may take.
pub const RESERVED_TIME: Duration = Duration::from_millis(50);

/// Everything.
pub struct Daemon<P: Platform> {
    /// The live tree; its log is what the journal has not got yet.
    pub live: Space,
    /// The last number given to a change.
    pub generation: u64,
    /// All watches.
    pub watches: Watches,
    /// Access lists of the special names.
    pub special: BTreeMap<Vec<u8>, Permissions>,
    /// All known domains.
    pub domains: BTreeMap<u16, Domain>,
    /// All clients.
    pub connections: Vec<Option<Connection<P>>>,
    /// Clients that have something to send or to do at the end of this round.
    pub touched: Vec<usize>,
    /// Clients whose requests wait for the reservation's end.
    pub stalled: Vec<usize>,
    /// See [`Reservation`].
    pub reservation: Option<Reservation>,
    /// No reservation before this time.
    pub next_reservation: Option<Duration>,
    /// The limits.
    pub quotas: Quotas,
    /// The machine.
    pub host: P,
    /// Log each request.
    pub logging: bool,
    /// A program to hand over to at the end of this round.
    pub update: crate::request::control::Update,
    /// Keep nodes of domains that ended.
    pub keep_orphans: bool,
}

impl<P: Platform> Daemon<P> {
    /// An empty store.
    pub fn new(host: P, quotas: Quotas) -> Daemon<P> {
        let nobody = Permissions::new(0, vec![Permission::new(0, Access::None)]);
        let special = [INTRODUCE_DOMAIN, RELEASE_DOMAIN].map(|name| (name.as_bytes().to_vec(), nobody.clone()));
        let mut daemon = Daemon {
            live: Space::new(Tree::new(nobody, 1)),
            generation: 1,
            watches: Watches::default(),
            special: special.into(),
            domains: BTreeMap::new(),
            connections: Vec::new(),
            touched: Vec::new(),
            stalled: Vec::new(),
            reservation: None,
            next_reservation: None,
            quotas,
            host,
            logging: false,
            update: Default::default(),
            keep_orphans: false,
        };
        daemon.domains.insert(
            0,
            Domain {
                since: 0,
                shutdown: false,
                ring: None,
                target: None,
            },
        );
        daemon.recount();
        daemon
    }

    /// Makes the nodes that are always there.
    pub fn make_first_nodes(&mut self) {
        let generation = self.next_generation();
        let terms = crate::space::Terms {
            identity: &Identity::privileged(),
            quotas: &self.quotas,
            owned_elsewhere: 0,
            generation,
        };
        // Domain 0 may make any node; there is nothing to fail.
        let _ = self.live.make(&terms, b"/tool/xenstored");
    }

    /// Counts all nodes anew.
    pub fn recount(&mut self) {
        self.live.counts = Counts::new();
        count_all(self.live.tree.root(), &mut self.live.counts);
    }

    /// The number of the next change.
    pub fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    /// A domain as access lists see it.
    pub fn holder(&self, domain: u16) -> Option<Holder> {
        self.domains.get(&domain).map(|known| Holder {
            domain,
            since: known.since,
        })
    }

    /// Whether a domain exists; from now on the daemon knows it.
    pub fn learn(&mut self, domain: u16) -> bool {
        if self.domains.contains_key(&domain) {
            return true;
        }
        if self.host.state(domain).is_none() {
            return false;
        }
        let since = self.next_generation();
        self.domains.insert(
            domain,
            Domain {
                since,
                shutdown: false,
                ring: None,
                target: None,
            },
        );
        self.log_domain(domain);
        true
    }

    /// Notes a domain's state for the journal.
    pub fn log_domain(&mut self, domain: u16) {
        if let Some(known) = self.domains.get(&domain) {
            crate::state::put_domain(&mut self.live.log, domain, known);
        }
    }

    /// Who a domain's client is.
    pub fn identity_of(&self, domain: u16) -> Identity {
        let holder = self.holder(domain).unwrap_or(Holder {
            domain,
            since: u64::MAX,
        });
        let target = self
            .domains
            .get(&domain)
            .and_then(|known| known.target)
            .and_then(|target| self.holder(target));
        Identity {
            holder,
            target,
            privileged: domain == 0,
        }
    }

    /// Takes a client in; gives its slot.
    pub fn add_connection(&mut self, connection: Connection<P>) -> usize {
        match self.connections.iter().position(Option::is_none) {
            Some(slot) => {
                self.connections[slot] = Some(connection);
                slot
            }
            None => {
                self.connections.push(Some(connection));
                self.connections.len() - 1
            }
        }
    }

    /// A client.
    pub fn client(&mut self, slot: usize) -> Option<&mut Connection<P>> {
        self.connections.get_mut(slot)?.as_mut()
    }

    /// Notes that a client has something to do at the end of this round.
    pub fn touch(&mut self, slot: usize) {
        if let Some(Some(connection)) = self.connections.get_mut(slot) {
            connection.dirty = true;
            self.touched.push(slot);
        }
    }

    /// Lets a client go, with its watches and transactions.
    pub fn drop_connection(&mut self, slot: usize) {
        self.drop_watches(slot);
        if self
            .reservation
            .as_ref()
            .is_some_and(|reservation| reservation.slot == slot)
        {
            self.end_reservation();
        }
        let Some(connection) = self.connections.get_mut(slot).and_then(Option::take) else {
            return;
        };
        if let Link::Ring(ring) = connection.link {
            self.host.unbind(ring.port);
        }
    }

    /// Forgets a client's watches.
    pub fn drop_watches(&mut self, slot: usize) {
        let Some(Some(connection)) = self.connections.get_mut(slot) else {
            return;
        };
        connection.missed.clear();
        let watches = core::mem::take(&mut connection.watches);
        if !watches.is_empty() && matches!(connection.link, Link::Ring(_)) {
            record::begin(&mut self.live.log, Tag::ResetWatches);
            record::put_number(&mut self.live.log, connection.identity.holder.domain.into());
        }
        for watch in watches {
            self.watches.remove(&watch.path, slot, &watch.token);
        }
    }

    /// Forgets a client's watches, transactions, and what is under way to and from it.
    pub fn reset_connection(&mut self, slot: usize) {
        self.drop_watches(slot);
        self.drop_transactions(slot);
        if let Some(connection) = self.client(slot) {
            connection.input.clear();
            connection.output.clear();
            connection.stalled = false;
            connection.conflicts = 0;
            connection.lost_below = 0;
        }
    }

    /// Forgets a client's transactions.
    pub fn drop_transactions(&mut self, slot: usize) {
        if self
            .reservation
            .as_ref()
            .is_some_and(|reservation| reservation.slot == slot)
        {
            self.end_reservation();
        }
        if let Some(connection) = self.client(slot) {
            connection.transactions.clear();
        }
    }

    /// Sets a watch whose path is absolute and was checked.
    pub fn add_watch(&mut self, slot: usize, own: OwnWatch) -> Result<(), xenstore_proto::Error> {
        let watch = Watch {
            client: slot,
            sequence: 0,
            token: own.token.clone(),
            skip: own.skip,
            depth: own.depth,
        };
        self.watches.add(&own.path, watch)?;
        if let Some(Some(connection)) = self.connections.get_mut(slot) {
            if matches!(connection.link, Link::Ring(_)) {
                let domain = connection.identity.holder.domain;
                crate::state::put_watch(&mut self.live.log, Tag::Watch, domain.into(), &own);
            }
            connection.watches.push(own);
        }
        Ok(())
    }

    /// Tells watches of a change; `tree` shows the rights that decide who may know.
    pub fn fire(&mut self, path: &[u8], exact: bool, old: Option<&Permissions>, before: Option<&Tree>) {
        if self.watches.is_empty() {
            return;
        }
        let mut hits = Vec::new();
        self.watches.collect(path, exact, &mut hits);
        let tree = before.unwrap_or(&self.live.tree);
        let special = xenstore_proto::path::is_special(path);
        for (number, watch) in hits.iter().enumerate() {
            let Some(Some(connection)) = self.connections.get_mut(watch.client) else {
                continue;
            };
            let identity = &connection.identity;
            let may_know = identity.privileged
                || if special {
                    self.special.get(path).is_some_and(|list| identity.rights(list).read)
                } else {
                    let parent = xenstore_proto::path::parent(path).and_then(|above| tree.get(above));
                    identity.may_know(tree.get(path), parent, old)
                };
            // Who asked for the same event twice, with watches one above the other, is told once.
            let twin =
                |other: &&Watch| (other.client, other.skip, &other.token) == (watch.client, watch.skip, &watch.token);
            let told = hits[..number].iter().any(twin);
            if may_know && !told {
                if !connection.dirty {
                    self.touched.push(watch.client);
                }
                connection.tell(path, watch);
            }
        }
    }

    /// Ends the reservation: whoever waited for it goes on.
    pub fn end_reservation(&mut self) {
        if self.reservation.take().is_some() {
            // Nobody can hold up others for more than a small part of the time.
            self.next_reservation = Some(self.host.now() + 4 * RESERVED_TIME);
            for slot in core::mem::take(&mut self.stalled) {
                if let Some(connection) = self.client(slot) {
                    connection.stalled = false;
                    self.touch(slot);
                }
            }
        }
    }

    /// Looks at all known domains: tells of those that shut down, and takes leave of those that ended.
    pub fn check_domains(&mut self) {
        let mut told = false;
        for domain in self
            .domains
            .keys()
            .copied()
            .filter(|&domain| domain != 0)
            .collect::<Vec<_>>()
        {
            let state = self.host.state(domain);
            let Some(known) = self.domains.get_mut(&domain) else {
                continue;
            };
            match state {
                Some(state) if !state.dying => {
                    if state.shutdown && !known.shutdown && known.ring.is_some() {
                        known.shutdown = true;
                        told = true;
                        self.log_domain(domain);
                    }
                }
                Some(_) if known.ring.is_none() => {}
                _ => told |= self.forget_domain(domain),
            }
        }
        if told {
            self.fire(RELEASE_DOMAIN.as_bytes(), false, None, None);
        }
    }

    /// Forgets a domain and removes what it owns; whether it had been introduced.
    pub fn forget_domain(&mut self, domain: u16) -> bool {
        let Some(known) = self.domains.remove(&domain) else {
            return false;
        };
        if let Some(introduced) = &known.ring {
            self.drop_connection(introduced.slot);
        }
        for other in self.domains.values_mut().filter(|other| other.target == Some(domain)) {
            other.target = None;
        }
        for connection in self.connections.iter_mut().flatten() {
            connection.identity.target = connection.identity.target.filter(|target| target.domain != domain);
        }
        record::begin(&mut self.live.log, Tag::Forget);
        record::put_number(&mut self.live.log, domain.into());
        if !self.keep_orphans {
            self.remove_orphans(domain);
        }
        known.ring.is_some()
    }

    /// Removes the nodes that a domain owns, with everything below them.
    fn remove_orphans(&mut self, domain: u16) {
        if self.live.counts.get(&domain).is_none_or(|&count| count <= 0) {
            self.live.counts.remove(&domain);
            return;
        }
        let mut orphans = Vec::new();
        // The topmost ones: what is below them goes with them.
        let mut note = |path: &[u8], node: &Node| {
            let is_orphan = node.owner() == domain && path.len() > 1;
            if is_orphan {
                orphans.push(path.to_vec());
            }
            !is_orphan
        };
        self.live.tree.root().walk(&mut vec![b'/'], &mut note, &mut |_, _| {});
        for path in orphans {
            self.remove_and_fire(&path);
        }
        let root = self.live.tree.root();
        if root.owner() == domain {
            // The root cannot go; it falls to domain 0.
            let list = root.permissions.with_owner(0, self.generation);
            let entries = list.entries().to_vec();
            let identity = Identity::privileged();
            let generation = self.next_generation();
            let terms = crate::space::Terms {
                identity: &identity,
                quotas: &self.quotas,
                owned_elsewhere: 0,
                generation,
            };
            // Domain 0 may change any list; there is nothing to fail.
            let _ = self.live.set_permissions(&terms, b"/", entries);
        }
        self.live.counts.remove(&domain);
    }

    /// Removes a node that exists and tells watches: those below it of what they watch, then those at it and above it.
    pub fn remove_and_fire(&mut self, path: &[u8]) {
        let generation = self.next_generation();
        let before = self.live.tree.clone();
        if self.watches.any_below(path)
            && let Some(node) = before.get(path)
        {
            let mut gone = Vec::new();
            node.for_each_below(&mut path.to_vec(), &mut |path, _| gone.push(path.to_vec()));
            gone.pop();
            gone.iter().for_each(|path| self.fire(path, true, None, Some(&before)));
        }
        self.fire(path, false, None, Some(&before));
        drop(before);
        self.live.remove(path, generation);
    }
}
