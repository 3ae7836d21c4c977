//! Event channels: what a port is bound to, and how a pending event reaches the guest.
//!
//! Both delivery layouts work on memory that the guest writes at any time, so they touch it only by atomic
//! operations and believe nothing of it twice.

pub mod fifo;
pub mod free_ports;
pub mod port;
pub mod two_level;

#[cfg(all(test, not(loom)))]
mod fifo_tests;
#[cfg(all(test, not(loom)))]
mod two_level_tests;

/// What the caller has to do after an event was marked pending.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Raised {
    /// The event was pending before.
    Already,
    /// It is newly pending, but its vcpu need not hear of it: masked, or an upcall is due anyway.
    Quiet,
    /// It is newly pending, and its vcpu is due an upcall.
    Upcall,
}
