//! The hypervisor below this Dom0.

use privcmd::{Mapping, Privcmd};
use xenctrl_core::{Arg, DomId, Door, Failure, Resource, Result};

use crate::refusal;

/// The running hypervisor: it has the operations of `xenctrl-core`, by hypercalls through Linux.
#[derive(Debug)]
pub struct Live {
    privcmd: Privcmd,
}

impl Live {
    /// Opens the door to it.
    ///
    /// # Errors
    /// With what to do: load a module, be root, be Dom0.
    pub fn open() -> Result<Self> {
        let privcmd = Privcmd::open().map_err(|error| refusal("reach the hypervisor", None, error))?;
        Ok(Self { privcmd })
    }

    /// The door itself, for calls that have no name here.
    pub fn privcmd(&self) -> &Privcmd {
        &self.privcmd
    }
}

impl Door for Live {
    type Mapping = Mapping;

    fn call(&self, op: u64, args: &mut [Arg<'_>]) -> std::result::Result<i64, Failure> {
        Door::call(&self.privcmd, op, args)
    }

    fn map_frames(&self, domid: DomId, mfns: &[u64], writable: bool) -> std::result::Result<Mapping, Failure> {
        self.privcmd.map_frames(domid, mfns, writable)
    }

    fn map_resource_frames(
        &self,
        domid: DomId,
        what: Resource,
        index: u32,
        count: usize,
    ) -> std::result::Result<Mapping, Failure> {
        self.privcmd.map_resource_frames(domid, what, index, count)
    }
}
