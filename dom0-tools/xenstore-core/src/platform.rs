//! What the store needs of the machine below it.
use core::fmt::{Arguments, Debug};
use core::sync::atomic::Ordering;
use core::time::Duration;

use xenstore_proto::Error;

/// What is known of a domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State {
    /// It has shut down or crashed.
    pub shutdown: bool,
    /// It is being taken apart.
    pub dying: bool,
}

/// The page that a domain shares with the daemon; the domain may write it at any time. Offsets are within the page.
pub trait RingPage {
    /// Reads a word; `offset` is a multiple of 4.
    fn load_u32(&self, offset: usize, order: Ordering) -> u32;
    /// Writes a word; `offset` is a multiple of 4.
    fn store_u32(&self, offset: usize, value: u32, order: Ordering);
    /// Copies bytes out.
    fn read(&self, offset: usize, into: &mut [u8]);
    /// Copies bytes in.
    fn write(&self, offset: usize, from: &[u8]);
}

/// The machine and what is around the store.
pub trait Platform {
    /// A mapped ring.
    type Page: RingPage;
    /// What a local client's stream is to whoever embeds the store: a socket, or nothing.
    type Stream;

    /// A domain's state; none where there is no such domain.
    fn state(&self, domain: u16) -> Option<State>;
    /// Maps the page that a domain shares with the daemon; `frame` is where its builder says it is.
    ///
    /// # Errors
    /// What the client that introduces the domain is told.
    fn map_ring(&self, domain: u16, frame: u64) -> Result<Self::Page, Error>;
    /// Binds to a port that a domain made for the daemon.
    ///
    /// # Errors
    /// As [`map_ring`](Platform::map_ring).
    fn bind(&self, domain: u16, port: u32) -> Result<u32, Error>;
    /// Closes a port.
    fn unbind(&self, port: u32);
    /// Sends an event.
    fn notify(&self, port: u32);
    /// Time since any fixed moment.
    fn now(&self) -> Duration;
    /// Tells whoever runs the daemon.
    fn log(&self, text: Arguments<'_>);
    /// Whether a program can take over from this one, by an update in place; why not, otherwise.
    ///
    /// # Errors
    /// The reason.
    fn check_update(&self, program: &str) -> Result<(), alloc::string::String> {
        Err(alloc::format!("{program}: no update in place here"))
    }
}
