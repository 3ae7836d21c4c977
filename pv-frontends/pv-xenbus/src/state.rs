//! The states that both ends of a device announce (`public/io/xenbus.h`).
use core::convert::Infallible;
use core::fmt;
use core::str::FromStr;

/// `XenbusState`, as a node's value: a decimal number. Anything else is [`State::Unknown`], as is a missing node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum State {
    /// No such node, or nothing that means something.
    Unknown = 0,
    /// This end has just appeared.
    Initialising = 1,
    /// The backend has told its features and waits for the frontend's.
    InitWait = 2,
    /// The frontend has told where its rings are.
    Initialised = 3,
    /// In use.
    Connected = 4,
    /// This end lets go.
    Closing = 5,
    /// This end has let go.
    Closed = 6,
    /// The device is being changed (PCI).
    Reconfiguring = 7,
    /// The device was changed (PCI).
    Reconfigured = 8,
}

impl State {
    /// Every state.
    pub const ALL: [State; 9] = [
        State::Unknown,
        State::Initialising,
        State::InitWait,
        State::Initialised,
        State::Connected,
        State::Closing,
        State::Closed,
        State::Reconfiguring,
        State::Reconfigured,
    ];

    /// From a node's value, or none if there is no node.
    pub fn from_node(value: Option<&str>) -> State {
        let number = value.and_then(|text| text.trim().parse::<usize>().ok());
        number
            .and_then(|number| State::ALL.get(number).copied())
            .unwrap_or(State::Unknown)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (*self as u8).fmt(f)
    }
}

impl FromStr for State {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<State, Infallible> {
        Ok(State::from_node(Some(text)))
    }
}
