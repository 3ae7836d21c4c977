//! What a toolstack asks of the hypervisor, typed: [`Domains`], [`Memory`], [`Machine`], [`Migration`], and what they speak of.
//!
//! Whatever is a [`Door`] to the hypervisor has them all. The crate needs an allocator and nothing else, so that the same calls build guests from Dom0's Linux (crate
//! `xenctrl`, through privcmd) and from a kernel of our own (the guest `iodom`, by hypercalls). Numbers and structures
//! are those of `xen-abi`.
#![no_std]
extern crate alloc;

mod control;
mod cpu_map;
mod domain;
mod door;
mod error;
mod machine;
mod mapped;
mod memory;
mod migration;

pub use cpu_map::CpuMap;
pub use domain::{CreateDomain, DomainInfo, Domains, EventStatus, SchedParams, ShutdownReason, VcpuInfo};
pub use door::{Arg, Block, Bytes, Door, Failure};
pub use error::{Error, Result};
pub use machine::{Console, CpuPool, CpuTopology, Machine, NumaNode, PhysInfo, XenVersion};
pub use mapped::Mapped;
pub use memory::{Memory, PinLevel, Resource};
pub use migration::{CpuPolicy, DirtyLog, Migration, TscInfo, VcpuPart};

/// A domain's number.
pub type DomId = u16;
/// A number of an event channel of this domain.
pub type Port = u32;
/// Bytes of a page.
pub const PAGE_SIZE: usize = 4096;
