//! What can be wrong with Dom0, each in one line.

use core::fmt;
use kernel_image::{BzImageError, ElfError, NotesError};
use xen_abi::Errno;
use xen_logic::dom0_layout::LayoutError;
use xen_logic::dom0_mem::Dom0MemError;
use xen_logic::unpack::UnpackError;

/// Why there is no Dom0.
#[derive(Clone, Copy, Debug)]
pub enum BuildError {
    /// The loader gave no module.
    NoModule,
    /// The kernel module is empty or no file that can be a kernel.
    Image(BzImageError),
    /// The packed kernel cannot be unpacked.
    Unpack(UnpackError),
    /// The kernel is no ELF file that can be loaded.
    Elf(ElfError),
    /// The kernel cannot run as a PV guest.
    Notes(NotesError),
    /// A segment or a note's address lies before or far behind the others.
    BadAddress(u64),
    /// `dom0_mem=` cannot be had.
    Memory(Dom0MemError),
    /// It does not fit.
    Layout(LayoutError),
    /// The hypervisor has no memory for this.
    NoMemory(&'static str),
    /// A step failed.
    Failed(&'static str, Errno),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::NoModule => write!(f, "no module: the loader must pass Dom0's kernel as the first module"),
            BuildError::Image(e) => write!(f, "Dom0's kernel: {e}"),
            BuildError::Unpack(e) => write!(f, "Dom0's kernel: {e}"),
            BuildError::Elf(e) => write!(f, "Dom0's kernel: {e}"),
            BuildError::Notes(e) => write!(f, "Dom0's kernel: {e}"),
            BuildError::BadAddress(at) => write!(f, "Dom0's kernel: address {at:#x} lies outside its own range"),
            BuildError::Memory(e) => e.fmt(f),
            BuildError::Layout(e) => e.fmt(f),
            BuildError::NoMemory(what) => write!(f, "too little memory for {what}"),
            BuildError::Failed(what, errno) => write!(f, "Dom0: {what} failed ({})", errno.name()),
        }
    }
}
