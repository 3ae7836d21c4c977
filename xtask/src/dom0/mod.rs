//! What Dom0 is made of: a kernel in the form a hypervisor likes, an initial RAM disk, tools, a guest to start.

pub mod cpio;
pub mod initramfs;
pub mod modules;
pub mod payload;
pub mod sample;
pub mod tools;
