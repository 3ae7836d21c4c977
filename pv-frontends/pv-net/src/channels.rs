//! A queue's event channels: one for both directions, or one for each.

use pv_hal::{Channel, Hal, Port};

/// The channels, and how many events went out by them.
pub(crate) struct Channels<H: Hal> {
    transmit: Channel<H>,
    /// None where one serves both.
    receive: Option<Channel<H>>,
    sent: u64,
}

impl<H: Hal> Channels<H> {
    pub(crate) fn new(transmit: Channel<H>, receive: Option<Channel<H>>) -> Self {
        Self {
            transmit,
            receive,
            sent: 0,
        }
    }

    /// The ports: of frames from the guest, or of both directions; of frames to the guest, where that is another.
    pub(crate) fn pair(&self) -> (Port, Option<Port>) {
        (self.transmit.port(), self.receive.as_ref().map(Channel::port))
    }

    /// All ports.
    pub(crate) fn ports(&self) -> impl Iterator<Item = Port> {
        let (transmit, receive) = self.pair();
        core::iter::once(transmit).chain(receive)
    }

    /// Forgets events that have come.
    pub(crate) fn take_events(&self) {
        self.transmit.take_event();
        if let Some(receive) = &self.receive {
            receive.take_event();
        }
    }

    /// Sends an event about frames from the guest.
    pub(crate) fn notify_transmit(&mut self) {
        self.transmit.notify();
        self.sent += 1;
    }

    /// Sends an event about frames to the guest.
    pub(crate) fn notify_receive(&mut self) {
        self.receive.as_ref().unwrap_or(&self.transmit).notify();
        self.sent += 1;
    }

    /// Events sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }
}
