//! The life of domains: making them, changing them, ending them, and what stands in the store meanwhile.

pub mod attach;
pub mod configuration;
pub mod control;
pub mod create;
pub mod devd;
pub mod devices;
pub mod image;
pub mod layout;
pub mod libxl_notes;
pub mod lock;
pub mod name;
pub mod nodes;
pub mod random;
pub mod record;
pub mod settle;
pub mod size;
pub mod supervise;
pub mod teardown;
pub mod tune;
pub mod watch_end;

#[cfg(test)]
pub(crate) mod tests;

use std::path::Path;
use std::time::Duration;

use xenctrl::Hypervisor;

use record::Records;

/// How long a backend or a script may take, as in xl.
pub const DEVICE_TIME: Duration = Duration::from_secs(40);

/// What all steps of a domain's life need beside the store.
#[derive(Clone, Copy)]
pub struct Tools<'a> {
    /// The hypervisor.
    pub hypervisor: &'a dyn Hypervisor,
    /// What is remembered of domains.
    pub records: &'a Records,
    /// Where unpacked kernels are kept.
    pub kernels: &'a Path,
}

impl<'a> Tools<'a> {
    /// As they are outside tests.
    pub fn new(hypervisor: &'a dyn Hypervisor, records: &'a Records) -> Self {
        Self {
            hypervisor,
            records,
            kernels: Path::new(kernel_cache::DIRECTORY),
        }
    }
}
