//! What Dom0 is made of: a kernel in the form a hypervisor likes, and an initial RAM disk.

pub mod cpio;
pub mod initramfs;
pub mod modules;
pub mod payload;
