//! The guest's end.

use core::time::Duration;

use pv_hal::{Hal, Port};
use pv_ring::bytes::Layout;

use crate::Error;

/// The guest's end of its first console.
pub struct Front<H: Hal> {
    hal: H,
    page: H::Pages,
    port: Port,
}

impl<H: Hal> Front<H> {
    /// Takes up the console that the domain was started with. What is in its rings stays there.
    ///
    /// # Errors
    /// [`Error::Absent`].
    pub fn new(hal: &H) -> Result<Self, Error> {
        let (page, port) = hal.console_ring().ok_or(Error::Absent)?;
        Ok(Self {
            hal: hal.clone(),
            page,
            port,
        })
    }

    /// The port that reports input and room.
    pub fn port(&self) -> Port {
        self.port
    }

    /// Prints as much as there is room for, and says how many bytes that was.
    ///
    /// # Errors
    /// [`Error::Broken`]; nothing was printed then.
    pub fn try_write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let count = Layout::CONSOLE_OUT.put(&self.page, bytes)?;
        if count > 0 {
            self.hal.notify(self.port);
        }
        Ok(count)
    }

    /// Prints everything; sleeps while there is no room.
    ///
    /// # Errors
    /// [`Error::Broken`].
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        loop {
            // The event first, then the ring: what is read in between makes a new event.
            self.hal.take_event(self.port);
            bytes = &bytes[self.try_write(bytes)?..];
            if bytes.is_empty() {
                return Ok(());
            }
            self.hal.wait(&[self.port], None);
        }
    }

    /// Prints everything without waiting for events, as a guest must that is about to end or has nobody to wake it: gives
    /// the CPU away between looks, until the other end has read enough or `deadline` has passed. Says whether all of it
    /// was printed.
    ///
    /// # Errors
    /// [`Error::Broken`].
    pub fn write_until(&mut self, mut bytes: &[u8], deadline: Duration) -> Result<bool, Error> {
        loop {
            bytes = &bytes[self.try_write(bytes)?..];
            if bytes.is_empty() || self.hal.now() >= deadline {
                return Ok(bytes.is_empty());
            }
            self.hal.yield_now();
        }
    }

    /// Sleeps until the other end has read all that was printed; false at the deadline.
    ///
    /// # Errors
    /// [`Error::Broken`].
    pub fn drain(&mut self, deadline: Option<Duration>) -> Result<bool, Error> {
        loop {
            self.hal.take_event(self.port);
            if Layout::CONSOLE_OUT.used(&self.page)? == 0 {
                return Ok(true);
            }
            if !self.hal.wait(&[self.port], deadline) {
                return Ok(Layout::CONSOLE_OUT.used(&self.page)? == 0);
            }
        }
    }

    /// Takes what was typed, as far as it fits; 0 if there is nothing.
    ///
    /// # Errors
    /// [`Error::Broken`].
    pub fn try_read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        let count = Layout::CONSOLE_IN.take(&self.page, into)?;
        if count > 0 {
            self.hal.notify(self.port);
        }
        Ok(count)
    }

    /// Sleeps until something is typed; 0 at the deadline, or if `into` has no room.
    ///
    /// # Errors
    /// [`Error::Broken`].
    pub fn read(&mut self, into: &mut [u8], deadline: Option<Duration>) -> Result<usize, Error> {
        loop {
            self.hal.take_event(self.port);
            let count = self.try_read(into)?;
            if count > 0 || into.is_empty() {
                return Ok(count);
            }
            if !self.hal.wait(&[self.port], deadline) {
                return self.try_read(into);
            }
        }
    }

    /// Lets others run, the reader of what was printed among them.
    pub(crate) fn yield_now(&self) {
        self.hal.yield_now();
    }
}
