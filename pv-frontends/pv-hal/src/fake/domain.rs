//! A domain of the fake machine.
use super::{Machine, Mapping, Pages, SHORT_STEP, Task};
use crate::{Access, CopyPiece, Direction, DomId, Error, GrantRef, Hal, Port};
use alloc::boxed::Box;
use core::time::Duration;

/// One domain; the [`Hal`] of the drivers in it.
#[derive(Clone)]
pub struct Domain {
    machine: Machine,
    id: DomId,
}

impl Domain {
    pub(super) fn new(machine: Machine, id: DomId) -> Domain {
        Domain { machine, id }
    }

    /// Its number.
    pub fn id(&self) -> DomId {
        self.id
    }

    /// The machine that it is part of.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Gives the domain something to do: `body` is called again and again while other domains wait. It looks at its
    /// rings and events once and returns; it does not wait itself.
    pub fn spawn(&self, body: impl FnMut() + 'static) {
        let core = &self.machine.0;
        core.next_task.set(core.next_task.get() + 1);
        core.tasks.borrow_mut().push(Task {
            number: core.next_task.get(),
            domain: self.id,
            body: Some(Box::new(body)),
        });
    }
}

impl Hal for Domain {
    type Pages = Pages;
    type Mapping = Mapping;

    fn allocate(&self, pages: usize) -> Result<Pages, Error> {
        self.machine.0.state.borrow_mut().allocate(self.id, pages)
    }

    fn grant(&self, pages: &Pages, index: usize, peer: DomId, access: Access) -> Result<GrantRef, Error> {
        let mut state = self.machine.0.state.borrow_mut();
        state.grant(self.id, pages, index, peer, access)
    }

    fn end_access(&self, grant: GrantRef) -> bool {
        self.machine.0.state.borrow_mut().end_access(self.id, grant)
    }

    fn map(&self, peer: DomId, grants: &[GrantRef], access: Access) -> Result<Mapping, Error> {
        let (id, pages) = self.machine.0.state.borrow_mut().map(self.id, peer, grants, access)?;
        Ok(Mapping {
            machine: self.machine.clone(),
            id,
            pages,
            is_read_only: access == Access::ReadOnly,
        })
    }

    fn copy(&self, direction: Direction, peer: DomId, own: &Pages, pieces: &mut [CopyPiece]) {
        let mut state = self.machine.0.state.borrow_mut();
        for piece in pieces {
            piece.result = state.copy(self.id, direction, peer, own, piece);
        }
    }

    fn allocate_unbound(&self, peer: DomId) -> Result<Port, Error> {
        self.machine.0.state.borrow_mut().allocate_unbound(self.id, peer)
    }

    fn bind_interdomain(&self, peer: DomId, remote: Port) -> Result<Port, Error> {
        self.machine.0.state.borrow_mut().bind(self.id, peer, remote)
    }

    fn close(&self, port: Port) {
        self.machine.0.state.borrow_mut().close(self.id, port);
    }

    fn notify(&self, port: Port) {
        self.machine.0.state.borrow_mut().notify(self.id, port);
    }

    fn take_event(&self, port: Port) -> bool {
        self.machine.0.state.borrow_mut().take_event(self.id, port)
    }

    fn wait(&self, ports: &[Port], deadline: Option<Duration>) -> bool {
        let pending = || {
            let state = self.machine.0.state.borrow();
            ports.iter().any(|&port| state.is_pending(self.id, port))
        };
        self.machine.run_until(deadline, pending)
    }

    fn now(&self) -> Duration {
        self.machine.now()
    }

    fn yield_now(&self) {
        self.machine.run_round();
        self.machine.advance(SHORT_STEP);
    }

    fn store_ring(&self) -> Option<(Pages, Port)> {
        self.machine.0.state.borrow().store_ring(self.id)
    }

    fn console_ring(&self) -> Option<(Pages, Port)> {
        self.machine.0.state.borrow().console_ring(self.id)
    }
}
