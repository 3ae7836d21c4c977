//! From a guest's configuration to a domain that waits to be started.
use alloc::format;
use alloc::string::String;
use core::fmt;

use domain_builder::{BuildError, Channel, Kernel, KernelError, Params};
use xenctrl_core::{CreateDomain, DomId, Domains, Error, Memory};

use crate::config::GuestConfig;

/// Memory that a domain may have beyond its size, in KiB: what xl gives.
const SLACK_KIB: u64 = 1024;

/// What building asks of the machine.
pub trait Control: Domains + Memory {
    /// Bytes of this domain's own as if they were mapped, to be copied from.
    ///
    /// # Errors
    /// There is no room.
    fn wrap(&self, bytes: &'static [u8]) -> Result<Self::Mapping, Error>;
}

/// A domain that is built and paused.
#[derive(Clone, Copy, Debug)]
pub struct NewDomain {
    /// Its number.
    pub domid: DomId,
    /// Frame and port of its store ring.
    pub store: (u64, u32),
    /// Frame and port of its console ring.
    pub console: (u64, u32),
}

/// Why a guest cannot be built.
#[derive(Debug)]
pub enum Failure {
    /// Its kernel is none.
    Kernel(KernelError),
    /// Its memory could not be filled.
    Build(BuildError),
    /// The hypervisor refused something.
    Refused(Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(error) => write!(f, "its kernel cannot be started: {error}"),
            Self::Build(error) => error.fmt(f),
            Self::Refused(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Failure {}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// Makes a domain and fills it; on an error nothing is left of it. `serial` makes its UUID.
///
/// # Errors
/// What was impossible, or refused.
pub fn build<C: Control>(control: &C, config: &GuestConfig<'static>, serial: u64) -> Result<NewDomain, Failure> {
    let kernel = Kernel::from_elf(config.kernel).map_err(Failure::Kernel)?;
    let mut uuid = *b"iodom guest     ";
    uuid[8..].copy_from_slice(&serial.to_be_bytes());
    let domid = control.create_domain(&CreateDomain::new(uuid, config.vcpus))?;
    fill(control, config, &kernel, domid).inspect_err(|_| {
        // The first error is the one to tell of.
        let _ = control.destroy_domain(domid);
    })
}

fn fill<C: Control>(
    control: &C,
    config: &GuestConfig<'static>,
    kernel: &Kernel<C::Mapping>,
    domid: DomId,
) -> Result<NewDomain, Failure> {
    control.set_max_vcpus(domid, config.vcpus)?;
    control.set_max_mem(domid, config.memory * 1024 + SLACK_KIB)?;
    let store_port = control.alloc_unbound(domid, 0)?;
    let console_port = control.alloc_unbound(domid, 0)?;
    let initrd = config.initrd.map(|bytes| control.wrap(bytes)).transpose()?;
    let channel = |port| Channel { domid: 0, port };
    let params = Params {
        pages: config.memory << 8,
        command_line: config.extra,
        initrd: initrd.as_ref(),
        console: channel(console_port),
        store: channel(store_port),
        flags: 0,
    };
    let built = domain_builder::build(control, domid, kernel, &params).map_err(Failure::Build)?;
    Ok(NewDomain {
        domid,
        store: (built.store_mfn, store_port),
        console: (built.console_mfn, console_port),
    })
}

/// A MAC address for a guest's interface that has none: locally administered, Xen's own prefix.
pub fn usual_mac(domid: DomId, index: usize) -> String {
    format!(
        "00:16:3e:{:02x}:{:02x}:{:02x}",
        domid >> 8 & 0x7f,
        domid & 0xff,
        index & 0xff
    )
}
