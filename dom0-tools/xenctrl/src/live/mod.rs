//! The hypervisor below this Dom0, by hypercalls.

mod domain;
mod machine;
mod memory;

use std::io;

use privcmd::{Arg, Block, DomId, Privcmd};
use xen_abi::{self as abi, xen_domctl, xen_sysctl};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::error::{Error, Result};

/// The running hypervisor.
#[derive(Debug)]
pub struct Live {
    privcmd: Privcmd,
}

/// Offsets of the unions.
const DOMCTL_U: usize = 16;
const SYSCTL_U: usize = 8;

impl Live {
    /// Opens the door to it.
    ///
    /// # Errors
    /// With what to do: load a module, be root, be Dom0.
    pub fn open() -> Result<Self> {
        let privcmd = Privcmd::open().map_err(|error| Error::new("reach the hypervisor", None, error))?;
        Ok(Self { privcmd })
    }

    /// The door itself, for calls that have no name here.
    pub fn privcmd(&self) -> &Privcmd {
        &self.privcmd
    }

    /// A domctl whose payload goes in; what comes back is in the result. `handles` are offsets in the payload.
    fn domctl(
        &self,
        cmd: u32,
        domid: DomId,
        payload: &(impl IntoBytes + Immutable),
        handles: Vec<(usize, Block<'_>)>,
    ) -> io::Result<xen_domctl> {
        let mut raw = xen_domctl {
            cmd,
            interface_version: abi::XEN_DOMCTL_INTERFACE_VERSION,
            domain: domid,
            ..xen_domctl::default()
        };
        raw.set_payload(payload);
        let mut block = Block::structure(&mut raw);
        for (offset, target) in handles {
            block = block.handle(DOMCTL_U + offset, target);
        }
        self.privcmd.call(abi::__HYPERVISOR_domctl, &mut [Arg::Memory(block)])?;
        Ok(raw)
    }

    /// A sysctl, like [`Live::domctl`].
    fn sysctl(
        &self,
        cmd: u32,
        payload: &(impl IntoBytes + Immutable),
        handles: Vec<(usize, Block<'_>)>,
    ) -> io::Result<xen_sysctl> {
        let mut raw = xen_sysctl {
            cmd,
            interface_version: abi::XEN_SYSCTL_INTERFACE_VERSION,
            ..xen_sysctl::default()
        };
        raw.set_payload(payload);
        let mut block = Block::structure(&mut raw);
        for (offset, target) in handles {
            block = block.handle(SYSCTL_U + offset, target);
        }
        self.privcmd.call(abi::__HYPERVISOR_sysctl, &mut [Arg::Memory(block)])?;
        Ok(raw)
    }

    /// A call of two arguments: sub-operation and structure. `handles` are offsets in the structure.
    fn operation<T: IntoBytes + FromBytes>(
        &self,
        op: u64,
        cmd: u32,
        arg: &mut T,
        handles: Vec<(usize, Block<'_>)>,
    ) -> io::Result<i64> {
        let mut block = Block::structure(arg);
        for (offset, target) in handles {
            block = block.handle(offset, target);
        }
        self.privcmd.call(op, &mut [Arg::Word(cmd.into()), Arg::Memory(block)])
    }
}

/// Names the operation in an error.
trait Named<T> {
    fn named(self, action: &'static str, domid: Option<DomId>) -> Result<T>;
}

impl<T> Named<T> for io::Result<T> {
    fn named(self, action: &'static str, domid: Option<DomId>) -> Result<T> {
        self.map_err(|error| Error::new(action, domid, error))
    }
}
