//! The backend's rules, as a function of what both ends have announced.
use crate::State;

/// What the backend holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held {
    /// Nothing.
    Nothing,
    /// It has told its features.
    Offered,
    /// It serves the frontend's rings.
    Running,
}

/// How a device stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Situation {
    /// What this end announces; a toolstack that detaches the device writes it, too.
    pub backend: State,
    /// What the frontend announces.
    pub frontend: State,
    /// What this end holds.
    pub held: Held,
    /// The toolstack wants the device (`online`).
    pub is_online: bool,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Nothing before the frontend or the toolstack moves.
    Wait,
    /// Nothing at all: the device is to be forgotten.
    Rest,
    /// Announce this state.
    Announce(State),
    /// Tell the features.
    Offer,
    /// Take the frontend's rings up.
    Connect,
    /// Let go of the frontend's rings.
    Release,
}

/// Says what to do next. Every chain of actions that needs no move of anybody else's ends in [`Action::Wait`] or
/// [`Action::Rest`].
pub fn decide(now: &Situation) -> Action {
    use State::{
        Closed, Closing, Connected, InitWait, Initialised, Initialising, Reconfigured, Reconfiguring, Unknown,
    };
    let is_running = now.held == Held::Running;
    match (now.frontend, now.backend) {
        // The toolstack has removed the device, or the frontend has gone for good or for now.
        (_, Unknown) | (Closed | Unknown | Closing, _) if is_running => Action::Release,
        (_, Unknown) => Action::Rest,
        (Closing, Closing | Closed) => Action::Wait,
        (Closing, _) => Action::Announce(Closing),
        (Closed, Closed) if !now.is_online => Action::Rest,
        (Closed, Closed) => Action::Wait,
        (Closed, _) => Action::Announce(Closed),
        (Unknown, Closed) if !now.is_online => Action::Rest,
        (Unknown, Closed) => Action::Wait,
        (Unknown, _) if !now.is_online || now.backend == Closing => Action::Announce(Closed),
        (Unknown, _) => Action::Wait,
        // The frontend begins anew without having closed.
        (Initialising | InitWait, _) if is_running => Action::Release,
        // Nobody uses what is detached.
        (Initialising | InitWait, Closing) if !now.is_online => Action::Announce(Closed),
        (Initialising | InitWait, Closed) if !now.is_online => Action::Rest,
        (Initialising | InitWait, InitWait) if now.held == Held::Offered => Action::Wait,
        (Initialising | InitWait, _) => Action::Offer,
        // A toolstack that detaches a device writes Closing; the frontend answers by closing.
        (Initialised | Connected | Reconfiguring | Reconfigured, Closing) => Action::Wait,
        (Initialised | Connected | Reconfiguring | Reconfigured, Closed) if is_running => Action::Release,
        (Initialised | Connected | Reconfiguring | Reconfigured, Closed) => Action::Wait,
        (Initialised | Connected | Reconfiguring | Reconfigured, _) => match now.held {
            Held::Running => Action::Wait,
            Held::Offered => Action::Connect,
            Held::Nothing => Action::Offer,
        },
    }
}
