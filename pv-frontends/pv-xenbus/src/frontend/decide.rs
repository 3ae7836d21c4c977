//! The frontend's rules, as a function of what both ends have announced.
use crate::State;

/// What the driver holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held {
    /// No rings.
    Nothing,
    /// Rings that the backend was told of and has not confirmed.
    Published,
    /// Rings that are in use.
    Started,
}

/// How a device stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Situation {
    /// What this end has announced last.
    pub frontend: State,
    /// What the backend announces.
    pub backend: State,
    /// What the driver holds.
    pub held: Held,
    /// The driver wants the device.
    pub is_wanted: bool,
    /// The toolstack wants the device (`online` in the backend's directory).
    pub is_online: bool,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Nothing before the backend moves.
    Wait,
    /// Nothing at all: the device is closed.
    Rest,
    /// Announce this state.
    Announce(State),
    /// Make rings and tell the backend.
    Publish,
    /// The backend has taken the rings up.
    Start,
    /// Let go of the rings.
    Release,
}

/// Says what to do next. Every chain of actions that needs no move of the backend's ends in [`Action::Wait`] or
/// [`Action::Rest`].
pub fn decide(now: &Situation) -> Action {
    match now.held {
        Held::Nothing if now.is_wanted => open(now),
        Held::Nothing => rest_closed(now),
        Held::Published if !now.is_wanted => Action::Release,
        Held::Published => match now.backend {
            State::InitWait | State::Initialised => Action::Wait,
            State::Connected | State::Reconfiguring | State::Reconfigured => Action::Start,
            State::Unknown | State::Initialising | State::Closing | State::Closed => Action::Release,
        },
        Held::Started => keep(now),
    }
}

/// On the way to rings.
fn open(now: &Situation) -> Action {
    use State::{
        Closed, Closing, Connected, InitWait, Initialised, Initialising, Reconfigured, Reconfiguring, Unknown,
    };
    match now.backend {
        Unknown => Action::Rest,
        Closing => match now.frontend {
            Closed => Action::Wait,
            _ => Action::Announce(Closed),
        },
        Closed if !now.is_online => rest_closed(now),
        Closed | Initialising | Initialised | InitWait if now.frontend != Initialising => {
            Action::Announce(Initialising)
        }
        InitWait => Action::Publish,
        Closed | Initialising | Initialised => Action::Wait,
        // A backend that still serves whoever drove this device before: a kernel that has been replaced.
        Connected | Reconfiguring | Reconfigured => match now.frontend {
            Closing => Action::Wait,
            Closed => Action::Wait,
            _ => Action::Announce(Closing),
        },
    }
}

/// With rings in use.
fn keep(now: &Situation) -> Action {
    match now.backend {
        State::Connected | State::Reconfiguring | State::Reconfigured if now.is_wanted => Action::Wait,
        State::Connected | State::Reconfiguring | State::Reconfigured => match now.frontend {
            State::Closing => Action::Wait,
            _ => Action::Announce(State::Closing),
        },
        // It closes, is gone, or began anew.
        _ => Action::Release,
    }
}

fn rest_closed(now: &Situation) -> Action {
    match now.frontend {
        State::Closed => Action::Rest,
        // Nobody is there who would look.
        _ if now.backend == State::Unknown => Action::Rest,
        _ => Action::Announce(State::Closed),
    }
}
