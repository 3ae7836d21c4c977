//! What the toolstack asks of the hypervisor, typed.
//!
//! [`Hypervisor`] is a trait, so that tools can be tested without one: [`Live`] makes hypercalls through `privcmd`,
//! [`fake::Fake`] (feature `fake`) keeps domains and machine memory in this process. Numbers and structures are
//! those of `xen-abi`.

mod cpu_map;
mod domain;
mod error;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
mod live;
mod machine;
mod memory;

pub use cpu_map::CpuMap;
pub use domain::{CreateDomain, DomainInfo, Domains, EventStatus, SchedParams, ShutdownReason, VcpuInfo};
pub use error::{Error, Result};
pub use live::Live;
pub use machine::{Console, CpuPool, CpuTopology, Machine, NumaNode, PhysInfo, XenVersion};
pub use memory::{Memory, PinLevel};
pub use privcmd::{DomId, Mapping, PAGE_SIZE, Port, Resource};

/// All that the tools ask.
pub trait Hypervisor: Domains + Memory + Machine + Send + Sync {}

impl<T: Domains + Memory + Machine + Send + Sync> Hypervisor for T {}
