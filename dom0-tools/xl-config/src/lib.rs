//! Reads xl.cfg(5) files as their users write them, and says what cannot be honoured.
//!
//! Three steps, each pure: [`parse`] turns text into settings that remember their lines, [`Document::overlay`] puts
//! `key=value` pairs from a command line on top, [`interpret`] turns settings into a [`DomainConfig`]. Each step adds
//! [`Problem`]s that name key, file and line; a key that has no effect is never passed over in silence.

mod action;
mod cpus;
mod devices;
mod disk;
mod document;
mod domain;
mod interpret;
mod keys;
mod lexer;
mod mac;
mod parser;
mod problem;
mod rate;
mod uuid;
mod vdev;
mod vif;

#[cfg(test)]
mod tests;

pub use action::{Action, Actions};
pub use cpus::{Affinity, CpuList, Host};
pub use disk::{BackendType, Disk, DiskFormat};
pub use document::{Document, Kind, Setting, Value};
pub use domain::{Boot, DomainConfig, Limits, TscMode};
pub use interpret::interpret;
pub use mac::MacAddress;
pub use parser::{parse, parse_pair};
pub use problem::{Place, Problem, Severity};
pub use rate::Rate;
pub use uuid::Uuid;
pub use vdev::VirtualDevice;
pub use vif::{Vif, VifMode};
