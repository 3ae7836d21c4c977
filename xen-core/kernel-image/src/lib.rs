//! What a paravirtual kernel's file says: where a bzImage has its payload, what an ELF file wants loaded, and what Xen's
//! notes in it ask for.
//!
//! The hypervisor reads Dom0's kernel by these rules and the domain builder every other's. Any bytes are a legal input;
//! nothing is copied, and nothing is unpacked here.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod bytes;
mod bzimage;
mod elf;
mod notes;

pub use bzimage::{BzImageError, Packing, Payload, find_payload};
pub use elf::{Elf, ElfError, Note, Segment};
pub use notes::{NotesError, Role, XenNotes};
