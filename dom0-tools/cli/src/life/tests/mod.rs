//! Domains from their making to their end, on the fake hypervisor and a store daemon of the test's own.

pub(crate) mod bed;
mod create;
mod supervise;
