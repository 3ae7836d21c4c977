//! The operations by hypercalls, for whatever is a [`Door`].

mod domain;
mod machine;
mod memory;
mod migration;

use alloc::vec::Vec;

use xen_abi::{self as abi, xen_domctl, xen_sysctl};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::door::{Arg, Block, Door, Failure};
use crate::{DomId, Result};

/// Offsets of the unions.
const DOMCTL_U: usize = 16;
const SYSCTL_U: usize = 8;

/// What came of a call.
type Answer<T> = core::result::Result<T, Failure>;

/// A domctl whose payload goes in; what comes back is in the result. `handles` are offsets in the payload.
fn domctl<D: Door + ?Sized>(
    door: &D,
    cmd: u32,
    domid: DomId,
    payload: &(impl IntoBytes + Immutable),
    handles: Vec<(usize, Block<'_>)>,
) -> Answer<xen_domctl> {
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
    door.call(abi::__HYPERVISOR_domctl, &mut [Arg::Memory(block)])?;
    Ok(raw)
}

/// A sysctl, like [`domctl`].
fn sysctl<D: Door + ?Sized>(
    door: &D,
    cmd: u32,
    payload: &(impl IntoBytes + Immutable),
    handles: Vec<(usize, Block<'_>)>,
) -> Answer<xen_sysctl> {
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
    door.call(abi::__HYPERVISOR_sysctl, &mut [Arg::Memory(block)])?;
    Ok(raw)
}

/// A call of two arguments: sub-operation and structure. `handles` are offsets in the structure.
fn operation<D: Door + ?Sized, T: IntoBytes + FromBytes>(
    door: &D,
    op: u64,
    cmd: u32,
    arg: &mut T,
    handles: Vec<(usize, Block<'_>)>,
) -> Answer<i64> {
    let mut block = Block::structure(arg);
    for (offset, target) in handles {
        block = block.handle(offset, target);
    }
    door.call(op, &mut [Arg::Word(cmd.into()), Arg::Memory(block)])
}

/// Names the operation in an error.
trait Named<T> {
    fn named(self, action: &'static str, domid: Option<DomId>) -> Result<T>;
}

impl<T> Named<T> for Answer<T> {
    fn named(self, action: &'static str, domid: Option<DomId>) -> Result<T> {
        self.map_err(|failure| failure.named(action, domid))
    }
}
