//! Builds a paravirtual guest from an ELF kernel, in two halves.
//!
//! The pure half turns bytes into decisions: [`Kernel`] knows which pages a kernel consists of and what its notes ask
//! for, [`Layout`] where everything stands, `tables` and `start` what is written there. The other half, [`build`],
//! carries them out on the operations of `xenctrl-core`: Dom0's tools give it the hypervisor behind privcmd or the fake
//! of `xenctrl`, and a kernel without an operating system its own hypercalls. It needs an allocator and nothing else.
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod build;
mod kernel;
mod layout;
mod start;
mod tables;
#[cfg(test)]
mod tests;

pub use build::{BuildError, Built, Channel, Params, build};
pub use kernel::{Kernel, KernelError};
pub use layout::{Frames, Layout, LayoutError, Request};
