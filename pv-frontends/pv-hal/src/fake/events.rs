//! Event channels of the fake machine.
use super::plan::{Call, Kind};
use super::state::{PortState, State};
use crate::{DomId, Error, Port};

impl State {
    fn port_mut(&mut self, id: DomId, port: Port) -> Option<&mut PortState> {
        self.domain_mut(id)?.ports.get_mut(port.0 as usize)?.as_mut()
    }

    fn add_port(&mut self, id: DomId, state: PortState) -> Result<Port, Error> {
        let domain = self.domain_mut(id).ok_or(Error::NoDomain)?;
        // Numbers are not used again, so that a test notices who uses one that is closed.
        domain.ports.push(Some(state));
        Ok(Port(domain.ports.len() as u32 - 1))
    }

    pub(super) fn allocate_unbound(&mut self, id: DomId, peer: DomId) -> Result<Port, Error> {
        self.plan.check(id, Kind::AllocateUnbound)?;
        let state = PortState {
            peer,
            remote: None,
            is_pending: false,
        };
        let port = self.add_port(id, state)?;
        self.note(id, Call::AllocateUnbound { peer, port });
        Ok(port)
    }

    pub(super) fn bind(&mut self, id: DomId, peer: DomId, remote: Port) -> Result<Port, Error> {
        self.plan.check(id, Kind::Bind)?;
        if self.domain(peer).is_none() {
            return Err(Error::NoDomain);
        }
        match self.port_mut(peer, remote) {
            Some(other) if other.peer == id && other.remote.is_none() => {}
            _ => return Err(Error::BadPort),
        }
        // As in Xen: whoever binds gets an event at once, for those that were sent before.
        let state = PortState {
            peer,
            remote: Some(remote),
            is_pending: true,
        };
        let port = self.add_port(id, state)?;
        if let Some(other) = self.port_mut(peer, remote) {
            other.remote = Some(port);
        }
        self.note(id, Call::Bind { peer, remote, port });
        Ok(port)
    }

    pub(super) fn close(&mut self, id: DomId, port: Port) {
        let slot = self
            .domain_mut(id)
            .and_then(|domain| domain.ports.get_mut(port.0 as usize));
        let Some(state) = slot.and_then(Option::take) else {
            return;
        };
        self.unbind_peer(&state);
        self.note(id, Call::Close { port });
    }

    /// The other end of a port that goes is unbound again.
    pub(super) fn unbind_peer(&mut self, state: &PortState) {
        if let Some(remote) = state.remote
            && let Some(other) = self.port_mut(state.peer, remote)
        {
            other.remote = None;
        }
    }

    pub(super) fn notify(&mut self, id: DomId, port: Port) {
        let Some(&mut state) = self.port_mut(id, port) else {
            return;
        };
        self.note(id, Call::Notify { port });
        let Some(remote) = state.remote else { return };
        if self.plan.holds_events {
            self.plan.held.push((state.peer, remote));
        } else {
            self.raise(state.peer, remote);
        }
    }

    pub(super) fn raise(&mut self, id: DomId, port: Port) {
        if let Some(state) = self.port_mut(id, port) {
            state.is_pending = true;
            self.steps += 1;
        }
    }

    pub(super) fn deliver(&mut self, index: usize) -> bool {
        if index >= self.plan.held.len() {
            return false;
        }
        let (domain, port) = self.plan.held.remove(index);
        self.raise(domain, port);
        true
    }

    pub(super) fn is_pending(&self, id: DomId, port: Port) -> bool {
        let ports = self.domain(id).map(|domain| &domain.ports);
        matches!(ports.and_then(|ports| ports.get(port.0 as usize)), Some(Some(state)) if state.is_pending)
    }

    pub(super) fn take_event(&mut self, id: DomId, port: Port) -> bool {
        self.port_mut(id, port)
            .is_some_and(|state| core::mem::take(&mut state.is_pending))
    }
}
