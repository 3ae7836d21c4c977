//! The guest's end and its status.
use crate::{console, hypercall};
use core::fmt::Display;
use xen_abi::*;

/// What a main function may give: it becomes the guest's status.
pub trait Termination {
    /// The status: 0 for success.
    fn status(self) -> u8;
}

impl Termination for () {
    fn status(self) -> u8 {
        0
    }
}

impl Termination for u8 {
    fn status(self) -> u8 {
        self
    }
}

impl<E: Display> Termination for Result<(), E> {
    fn status(self) -> u8 {
        match self {
            Ok(()) => 0,
            Err(error) => {
                crate::println!("guest: error: {error}");
                1
            }
        }
    }
}

/// Ends the guest in order: its last line, `guest: exit N`, tells the status to who started it; then it powers off.
pub fn exit(status: u8) -> ! {
    crate::println!("guest: exit {status}");
    console::drain();
    hypercall::shutdown(SHUTDOWN_poweroff)
}

/// Runs an image's main function and ends the guest with its status; see [`crate::main!`].
pub fn run<T: Termination>(main: fn() -> T) -> ! {
    exit(main().status())
}
