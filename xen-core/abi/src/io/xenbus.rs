//! The states that both ends of a device announce (`public/io/xenbus.h`).
use core::convert::Infallible;
use core::fmt;
use core::str::FromStr;

/// `enum xenbus_state`, as a node's value: a decimal number. Anything else is [`XenbusState::Unknown`], as is a
/// missing node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum XenbusState {
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

impl XenbusState {
    /// Every state.
    pub const ALL: [XenbusState; 9] = [
        XenbusState::Unknown,
        XenbusState::Initialising,
        XenbusState::InitWait,
        XenbusState::Initialised,
        XenbusState::Connected,
        XenbusState::Closing,
        XenbusState::Closed,
        XenbusState::Reconfiguring,
        XenbusState::Reconfigured,
    ];

    /// From a node's value, or none if there is no node.
    pub fn from_node(value: Option<&str>) -> XenbusState {
        let number = value.and_then(|text| text.trim().parse::<usize>().ok());
        number
            .and_then(|number| XenbusState::ALL.get(number).copied())
            .unwrap_or(XenbusState::Unknown)
    }
}

impl fmt::Display for XenbusState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (*self as u8).fmt(f)
    }
}

impl FromStr for XenbusState {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<XenbusState, Infallible> {
        Ok(XenbusState::from_node(Some(text)))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::string::ToString;

    use super::XenbusState;

    #[test]
    fn states_are_read_as_they_are_written() {
        for (number, state) in XenbusState::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, number);
            assert_eq!(XenbusState::from_node(Some(&state.to_string())), state);
        }
        for value in [
            None,
            Some(""),
            Some("9"),
            Some("99999999999999999999"),
            Some("-1"),
            Some("4 4"),
            Some("four"),
        ] {
            assert_eq!(XenbusState::from_node(value), XenbusState::Unknown, "{value:?}");
        }
        assert_eq!(XenbusState::from_node(Some(" 4\n")), XenbusState::Connected);
    }
}
