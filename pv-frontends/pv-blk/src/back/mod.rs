//! The backend: serves a disk to another domain.

mod backend;
mod disk;
mod engine;
mod memory_disk;
mod pages;
mod request;

pub use backend::{Backend, Condition, Options};
pub use disk::{Disk, DiskError, Ended, Geometry, Job, Work};
pub use engine::Engine;
pub use memory_disk::MemoryDisk;
