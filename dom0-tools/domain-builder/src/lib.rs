//! Builds a paravirtual guest from a kernel file, in two halves.
//!
//! The pure half turns bytes into decisions: [`Kernel`] knows which pages a kernel consists of and what its notes ask
//! for, [`Layout`] where everything stands, `tables` and `start` what is written there. The other half, [`build`],
//! carries them out on a [`xenctrl::Hypervisor`], be it the real one or the fake.

mod build;
mod bytes;
mod bzimage;
mod elf;
mod kernel;
mod layout;
mod notes;
mod start;
mod tables;
#[cfg(test)]
mod tests;
mod unpack;

pub use build::{BuildError, Built, Channel, Params, build};
pub use bzimage::{Packing, find_payload};
pub use kernel::{Kernel, KernelError};
pub use layout::{Frames, Layout, LayoutError, Request};
pub use notes::{Notes, NotesError};
pub use unpack::{UnpackError, unpack};
