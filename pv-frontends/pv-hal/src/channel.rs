//! A port that is closed at its end.
use crate::{DomId, Error, Hal, Port};
use core::time::Duration;

/// An event channel that this domain holds; dropping it closes the port.
#[derive(Debug)]
pub struct Channel<H: Hal> {
    hal: H,
    port: Port,
}

impl<H: Hal> Channel<H> {
    /// Offers a port to `peer`.
    ///
    /// # Errors
    /// As [`Hal::allocate_unbound`].
    pub fn offer(hal: &H, peer: DomId) -> Result<Self, Error> {
        let port = hal.allocate_unbound(peer)?;
        Ok(Self { hal: hal.clone(), port })
    }

    /// Binds to a port that `peer` has offered.
    ///
    /// # Errors
    /// As [`Hal::bind_interdomain`].
    pub fn bind(hal: &H, peer: DomId, remote: Port) -> Result<Self, Error> {
        let port = hal.bind_interdomain(peer, remote)?;
        Ok(Self { hal: hal.clone(), port })
    }

    /// The local port: what is written to the store for the peer to bind to, and what is waited for.
    pub fn port(&self) -> Port {
        self.port
    }

    /// Sends an event.
    pub fn notify(&self) {
        self.hal.notify(self.port);
    }

    /// See [`Hal::take_event`].
    pub fn take_event(&self) -> bool {
        self.hal.take_event(self.port)
    }

    /// Sleeps until an event or the deadline; see [`Hal::wait`].
    pub fn wait(&self, deadline: Option<Duration>) -> bool {
        self.hal.wait(&[self.port], deadline)
    }
}

impl<H: Hal> Drop for Channel<H> {
    fn drop(&mut self) {
        self.hal.close(self.port);
    }
}
