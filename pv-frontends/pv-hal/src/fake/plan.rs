//! What the fake machine keeps, fails and holds back.
use crate::{Access, Direction, DomId, Error, GrantRef, Port};
use alloc::vec::Vec;

/// Calls that can be made to [fail](super::Machine::fail).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// [`Hal::allocate`](crate::Hal::allocate).
    Allocate,
    /// [`Hal::grant`](crate::Hal::grant).
    Grant,
    /// [`Hal::map`](crate::Hal::map).
    Map,
    /// One piece of [`Hal::copy`](crate::Hal::copy).
    Copy,
    /// [`Hal::allocate_unbound`](crate::Hal::allocate_unbound).
    AllocateUnbound,
    /// [`Hal::bind_interdomain`](crate::Hal::bind_interdomain).
    Bind,
}

/// A call that succeeded.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Call {
    Allocate {
        pages: usize,
    },
    Grant {
        grant: GrantRef,
        peer: DomId,
        access: Access,
    },
    EndAccess {
        grant: GrantRef,
        is_over: bool,
    },
    Map {
        peer: DomId,
        grants: Vec<GrantRef>,
        access: Access,
    },
    Unmap {
        peer: DomId,
        grants: Vec<GrantRef>,
    },
    Copy {
        direction: Direction,
        peer: DomId,
        grant: GrantRef,
        length: u16,
    },
    AllocateUnbound {
        peer: DomId,
        port: Port,
    },
    Bind {
        peer: DomId,
        remote: Port,
        port: Port,
    },
    Close {
        port: Port,
    },
    Notify {
        port: Port,
    },
}

struct Failure {
    domain: DomId,
    kind: Kind,
    skip: usize,
    error: Error,
}

#[derive(Default)]
pub(super) struct Plan {
    failures: Vec<Failure>,
    pub(super) record: Option<Vec<(DomId, Call)>>,
    pub(super) holds_events: bool,
    pub(super) held: Vec<(DomId, Port)>,
}

impl Plan {
    pub(super) fn fail(&mut self, domain: DomId, kind: Kind, skip: usize, error: Error) {
        self.failures.push(Failure {
            domain,
            kind,
            skip,
            error,
        });
    }

    /// Called at every call: whether this is one that is to fail.
    pub(super) fn check(&mut self, domain: DomId, kind: Kind) -> Result<(), Error> {
        let meant = |failure: &Failure| failure.domain == domain && failure.kind == kind;
        let due = self
            .failures
            .iter()
            .position(|failure| meant(failure) && failure.skip == 0);
        for failure in self.failures.iter_mut().filter(|failure| meant(failure)) {
            failure.skip = failure.skip.saturating_sub(1);
        }
        match due {
            Some(index) => Err(self.failures.remove(index).error),
            None => Ok(()),
        }
    }
}
