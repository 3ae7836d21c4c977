//! Dom0's kernel: from the boot module to an ELF file whose notes are known.

use super::BuildError;
use super::memory::Memory;
use crate::boot::Module;
use crate::mm;
use crate::mm::frame::Mfn;
use crate::mm::layout::PAGE_SIZE;
use kernel_image::{BzImageError, Elf, Packing, Payload, Role, XenNotes, find_payload};
use xen_logic::unpack;

/// Largest kernel that is unpacked: what one run of frames can hold.
const MAX_UNPACKED: usize = 512 << 20;

/// The bytes of a boot module.
pub(super) fn module_bytes(module: &Module) -> &'static [u8] {
    if module.len == 0 {
        return &[];
    }
    // SAFETY: the loader put the module into RAM, which the direct map covers; its frames are given to the allocator
    // only after Dom0 has been built, and nobody writes to them before.
    unsafe { core::slice::from_raw_parts(mm::directmap(module.start), module.len as usize) }
}

/// A run of hypervisor pages, given back when dropped.
struct Buffer {
    mfn: Mfn,
    order: u32,
    len: usize,
}

impl Buffer {
    fn new(len: usize) -> Option<Self> {
        let pages = (len as u64).div_ceil(PAGE_SIZE).max(1);
        let order = pages.next_power_of_two().trailing_zeros();
        mm::alloc::alloc_pages(order, Default::default()).map(|mfn| Self { mfn, order, len })
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the buffer owns `len` bytes from there on, which only `bytes_mut` gives to be written.
        unsafe { core::slice::from_raw_parts(mm::directmap(self.mfn.0 << 12), self.len) }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; the borrow is exclusive.
        unsafe { core::slice::from_raw_parts_mut(mm::directmap(self.mfn.0 << 12), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        mm::alloc::free_pages(self.mfn, self.order);
    }
}

/// Where the ELF file is.
enum Source {
    /// In the module itself.
    Module(&'static [u8]),
    /// Unpacked.
    Buffer(Buffer),
}

/// A kernel that can be Dom0's.
pub(super) struct Kernel {
    source: Source,
    /// What it says about itself.
    pub(super) notes: XenNotes,
    /// Physical addresses of its first byte and of the first byte behind it.
    extent: (u64, u64),
}

/// Where the ELF file of a payload is: here already, or unpacked now.
fn unpack_payload(payload: Payload<'static>) -> Result<Source, BuildError> {
    if payload.packing == Packing::Plain {
        return Ok(Source::Module(payload.data));
    }
    // A packed file that is no bzImage does not say how much memory it takes.
    let len = payload.unpacked_len.ok_or(BuildError::Image(BzImageError::Unknown))? as usize;
    if len > MAX_UNPACKED {
        return Err(BuildError::Image(BzImageError::Truncated));
    }
    log::info!("unpacking Dom0's kernel ({:?}, {} MiB)", payload.packing, len >> 20);
    let mut buffer = Buffer::new(len).ok_or(BuildError::NoMemory("unpacking the kernel"))?;
    unpack::unpack(payload.packing, payload.data, buffer.bytes_mut()).map_err(BuildError::Unpack)?;
    Ok(Source::Buffer(buffer))
}

impl Kernel {
    /// Finds the ELF file in the module, unpacking it where needed, and reads its notes.
    pub(super) fn load(module: &Module) -> Result<Self, BuildError> {
        let payload = find_payload(module_bytes(module)).map_err(BuildError::Image)?;
        let source = unpack_payload(payload)?;
        let elf = parse(&source)?;
        let notes = XenNotes::parse(elf, Role::Dom0).map_err(BuildError::Notes)?;
        let kernel = Self {
            notes,
            extent: elf.extent(),
            source,
        };
        // Every physical address counts from the offset that the notes give.
        if kernel.extent.0 < kernel.notes.paddr_offset {
            return Err(BuildError::BadAddress(kernel.extent.0));
        }
        kernel.physical(kernel.notes.entry)?;
        Ok(kernel)
    }

    /// First virtual address behind the kernel.
    pub(super) fn virtual_end(&self) -> Result<u64, BuildError> {
        let size = self.extent.1 - self.notes.paddr_offset;
        self.notes
            .virt_base
            .checked_add(size)
            .ok_or(BuildError::BadAddress(self.extent.1))
    }

    /// The pseudo-physical address of one of the kernel's virtual addresses.
    pub(super) fn physical(&self, va: u64) -> Result<u64, BuildError> {
        let size = self.extent.1 - self.notes.paddr_offset;
        va.checked_sub(self.notes.virt_base)
            .filter(|at| *at < size)
            .ok_or(BuildError::BadAddress(va))
    }

    /// Writes the segments into the domain's memory.
    pub(super) fn place(&self, memory: &Memory) -> Result<(), BuildError> {
        for segment in parse(&self.source)?.segments() {
            let at = segment.paddr - self.notes.paddr_offset;
            let in_file = segment.data.len() as u64;
            memory.write(at, segment.data);
            memory.clear(at + in_file, segment.mem_size - in_file);
        }
        Ok(())
    }
}

fn parse(source: &Source) -> Result<Elf<'_>, BuildError> {
    let bytes = match source {
        Source::Module(bytes) => bytes,
        Source::Buffer(buffer) => buffer.bytes(),
    };
    Elf::parse(bytes).map_err(BuildError::Elf)
}
