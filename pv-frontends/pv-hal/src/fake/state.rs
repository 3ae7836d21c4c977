//! Everything that the domains of a fake machine share.
use super::memory::{FakePage, Pages};
use super::plan::{Call, Plan};
use crate::{Access, DomId, Error, GrantRef, Port};
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;

/// The domain that consoles and stores belong to, whether it exists or not.
const SERVER: DomId = DomId(0);
/// Ports and grants of the console and the store, as the domain builder makes them.
const CONSOLE: (GrantRef, Port) = (GrantRef(0), Port(1));
const STORE: (GrantRef, Port) = (GrantRef(1), Port(2));
/// Grants below this number are reserved (`GNTTAB_NR_RESERVED_ENTRIES`).
pub(super) const RESERVED_GRANTS: usize = xen_abi::GNTTAB_NR_RESERVED_ENTRIES as usize;
/// Ports below this number are the console's and the store's; 0 is never valid.
const RESERVED_PORTS: usize = 3;

pub(super) struct DomainState {
    /// Pages in use.
    pub(super) pages: Rc<Cell<usize>>,
    pub(super) grants: Vec<Option<Grant>>,
    pub(super) ports: Vec<Option<PortState>>,
    pub(super) console: Pages,
    pub(super) store: Pages,
}

/// An entry of a grant table.
pub(super) struct Grant {
    pub(super) page: Rc<FakePage>,
    pub(super) peer: DomId,
    pub(super) access: Access,
    pub(super) mapped: usize,
    /// Taken back while it was mapped: free when the last mapping goes.
    pub(super) is_ended: bool,
}

#[derive(Clone, Copy)]
pub(super) struct PortState {
    pub(super) peer: DomId,
    /// The peer's port; none while it is unbound.
    pub(super) remote: Option<Port>,
    pub(super) is_pending: bool,
}

pub(super) struct MappingState {
    pub(super) mapper: DomId,
    pub(super) granter: DomId,
    pub(super) grants: Vec<GrantRef>,
}

#[derive(Default)]
pub(super) struct State {
    domains: BTreeMap<DomId, DomainState>,
    pub(super) mappings: BTreeMap<u64, MappingState>,
    pub(super) next_mapping: u64,
    pub(super) plan: Plan,
    /// Calls that changed something, ever.
    pub(super) steps: u64,
}

impl State {
    pub(super) fn domain(&self, id: DomId) -> Option<&DomainState> {
        self.domains.get(&id)
    }

    pub(super) fn domain_mut(&mut self, id: DomId) -> Option<&mut DomainState> {
        self.domains.get_mut(&id)
    }

    /// Notes a call that changed something.
    pub(super) fn note(&mut self, domain: DomId, call: Call) {
        self.steps += 1;
        if let Some(record) = &mut self.plan.record {
            record.push((domain, call));
        }
    }

    pub(super) fn add_domain(&mut self, id: DomId) {
        assert!(!self.domains.contains_key(&id), "domain {id} exists");
        // The two rings' pages are not counted: they are the builder's.
        let uncounted = Rc::new(Cell::new(0));
        let (console, store) = (FakePage::new(&uncounted), FakePage::new(&uncounted));
        let grant = |page: &Rc<FakePage>| Grant {
            page: page.clone(),
            peer: SERVER,
            access: Access::ReadWrite,
            mapped: 0,
            is_ended: false,
        };
        let port = PortState {
            peer: SERVER,
            remote: None,
            is_pending: false,
        };
        let mut grants: Vec<Option<Grant>> = (0..RESERVED_GRANTS).map(|_| None).collect();
        grants[CONSOLE.0.0 as usize] = Some(grant(&console));
        grants[STORE.0.0 as usize] = Some(grant(&store));
        let state = DomainState {
            pages: Rc::default(),
            grants,
            ports: [None, Some(port), Some(port)].into(),
            console: Pages(Rc::new([console])),
            store: Pages(Rc::new([store])),
        };
        self.domains.insert(id, state);
    }

    pub(super) fn destroy(&mut self, id: DomId) {
        let Some(gone) = self.domains.remove(&id) else { return };
        for port in gone.ports.iter().flatten() {
            self.unbind_peer(port);
        }
        let held: Vec<u64> = self
            .mappings
            .iter()
            .filter(|(_, mapping)| mapping.mapper == id)
            .map(|(&number, _)| number)
            .collect();
        held.into_iter().for_each(|number| self.unmap(number));
        self.steps += 1;
    }

    pub(super) fn console_backend(&self, id: DomId) -> (GrantRef, Port) {
        assert!(self.domains.contains_key(&id), "no domain {id}");
        CONSOLE
    }

    pub(super) fn store_backend(&self, id: DomId) -> (GrantRef, Port) {
        assert!(self.domains.contains_key(&id), "no domain {id}");
        STORE
    }

    pub(super) fn console_ring(&self, id: DomId) -> Option<(Pages, Port)> {
        Some((self.domain(id)?.console.clone(), CONSOLE.1))
    }

    pub(super) fn store_ring(&self, id: DomId) -> Option<(Pages, Port)> {
        Some((self.domain(id)?.store.clone(), STORE.1))
    }

    pub(super) fn grants_in_use(&self, id: DomId) -> usize {
        self.domain(id)
            .map_or(0, |domain| domain.grants.iter().skip(RESERVED_GRANTS).flatten().count())
    }

    pub(super) fn ports_in_use(&self, id: DomId) -> usize {
        self.domain(id)
            .map_or(0, |domain| domain.ports.iter().skip(RESERVED_PORTS).flatten().count())
    }

    pub(super) fn allocate(&mut self, id: DomId, count: usize) -> Result<Pages, Error> {
        self.plan.check(id, super::Kind::Allocate)?;
        let domain = self.domain(id).ok_or(Error::NoDomain)?;
        let pages = (0..count).map(|_| FakePage::new(&domain.pages)).collect();
        self.note(id, Call::Allocate { pages: count });
        Ok(Pages(pages))
    }
}
