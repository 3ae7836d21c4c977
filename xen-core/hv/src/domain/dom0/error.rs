//! What can be wrong with Dom0, each in one line.

use core::fmt;
use xen_abi::Errno;
use xen_logic::bzimage::BzImageError;
use xen_logic::dom0_layout::LayoutError;
use xen_logic::dom0_mem::Dom0MemError;
use xen_logic::elf::ElfError;
use xen_logic::unpack::UnpackError;
use xen_logic::xen_notes::NotesError;

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
        write!(f, "no Dom0: ")?;
        match self {
            BuildError::NoModule => write!(f, "the boot loader gave no module; the first one must be Dom0's kernel"),
            BuildError::Image(e) => e.fmt(f),
            BuildError::Unpack(e) => e.fmt(f),
            BuildError::Elf(e) => e.fmt(f),
            BuildError::Notes(e) => e.fmt(f),
            BuildError::BadAddress(at) => write!(f, "kernel has an address outside its own range: {at:#x}"),
            BuildError::Memory(e) => e.fmt(f),
            BuildError::Layout(e) => e.fmt(f),
            BuildError::NoMemory(what) => write!(f, "too little memory for {what}"),
            BuildError::Failed(what, errno) => write!(f, "{what} failed ({})", errno.name()),
        }
    }
}
