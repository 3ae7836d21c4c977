//! Linux's doors to the hypervisor, each behind a safe type: hypercalls, foreign memory, event channels, grants, the
//! ring between Dom0's kernel and xenstored. Beside them the few other calls of Linux that need unsafe code, so that
//! no other tool has any: file mappings, loop devices, network interfaces.
//!
//! Memory that somebody else may write to at any time (a guest, the kernel, another process) is only ever seen
//! through [`Mapping`], which copies or uses atomics: no Rust reference to its bytes exists.
#![allow(unsafe_code)]

mod device;
mod event_channel;
mod foreign;
mod grant_alloc;
mod grant_map;
mod grant_set;
mod hypercall;
mod loop_device;
mod mapping;
mod net_device;
mod pieces;
mod xenbus_backend;

pub use event_channel::EventChannel;
pub use grant_alloc::{GrantAlloc, GrantedPages};
pub use grant_map::{CopySegment, GrantDevice, GrantMap, Local};
pub use hypercall::Privcmd;
pub use loop_device::{LoopControl, LoopOptions};
pub use mapping::Mapping;
pub use net_device::NetDevices;
pub use pieces::{Piece, read_pieces, write_pieces};
pub use xenbus_backend::XenbusBackend;
pub use xenctrl_core::{Arg, Block, DomId, PAGE_SIZE, Port, Resource};
