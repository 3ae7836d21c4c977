//! The daemon's or driver domain's end.

use core::time::Duration;

use pv_hal::{Access, Channel, DomId, GrantRef, Hal, Port};
use pv_ring::bytes::Layout;

use crate::Error;

/// The other end of a guest's console.
pub struct Back<H: Hal> {
    page: H::Mapping,
    channel: Channel<H>,
}

impl<H: Hal> Back<H> {
    /// Maps the page that `guest` has granted and binds to its port, as its `console/ring-ref` and `console/port` or the
    /// toolstack say (the page of a guest's first console is its grant 0).
    ///
    /// # Errors
    /// [`Error::Hal`].
    pub fn new(hal: &H, guest: DomId, ring: GrantRef, port: Port) -> Result<Self, Error> {
        Ok(Self {
            page: hal.map(guest, &[ring], Access::ReadWrite)?,
            channel: Channel::bind(hal, guest, port)?,
        })
    }

    /// The port that reports output and room.
    pub fn port(&self) -> Port {
        self.channel.port()
    }

    /// Forgets an event; to be called before looking at the rings, by those who wait for several ports.
    pub fn take_event(&mut self) -> bool {
        self.channel.take_event()
    }

    /// Takes what the guest has printed, as far as it fits; 0 if there is nothing.
    ///
    /// # Errors
    /// [`Error::Broken`].
    pub fn try_read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        let count = Layout::CONSOLE_OUT.take(&self.page, into)?;
        if count > 0 {
            self.channel.notify();
        }
        Ok(count)
    }

    /// Sleeps until the guest prints something; 0 at the deadline, or if `into` has no room.
    ///
    /// # Errors
    /// [`Error::Broken`].
    pub fn read(&mut self, into: &mut [u8], deadline: Option<Duration>) -> Result<usize, Error> {
        loop {
            self.take_event();
            let count = self.try_read(into)?;
            if count > 0 || into.is_empty() {
                return Ok(count);
            }
            if !self.channel.wait(deadline) {
                return self.try_read(into);
            }
        }
    }

    /// Types as much as there is room for, and says how many bytes that was.
    ///
    /// # Errors
    /// [`Error::Broken`]; nothing was typed then.
    pub fn try_write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let count = Layout::CONSOLE_IN.put(&self.page, bytes)?;
        if count > 0 {
            self.channel.notify();
        }
        Ok(count)
    }

    /// Types everything; sleeps while the guest does not read. False at the deadline.
    ///
    /// # Errors
    /// [`Error::Broken`].
    pub fn write(&mut self, mut bytes: &[u8], deadline: Option<Duration>) -> Result<bool, Error> {
        loop {
            self.take_event();
            bytes = &bytes[self.try_write(bytes)?..];
            if bytes.is_empty() {
                return Ok(true);
            }
            if !self.channel.wait(deadline) {
                return Ok(false);
            }
        }
    }
}
