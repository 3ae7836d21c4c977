//! Frames of another domain, mapped: what a domain may do that builds others.
use crate::{memory, pages, window};
use xen_abi::*;

/// Mapped frames of another domain, unmapped at its end. Offsets are in bytes from the first frame's beginning; each
/// access panics when it leaves them, as slices do.
#[derive(Debug)]
pub struct Foreign {
    address: u64,
    count: u64,
}

impl Foreign {
    /// Maps machine frames of domain `owner`, in the order given, to read or also to write; the error is the
    /// hypervisor's.
    pub fn map(owner: domid_t, frames: &[u64], writable: bool) -> Result<Foreign, i64> {
        let bits = if writable {
            pages::PTE_DATA
        } else {
            pages::PTE_READ_ONLY
        };
        let address = window::map_frames(owner, frames, bits | pages::PTE_NX)?;
        let count = frames.len() as u64;
        Ok(Foreign { address, count })
    }

    /// Bytes; never 0.
    pub fn byte_count(&self) -> usize {
        (self.count as usize) << 12
    }

    fn place(&self, offset: usize, length: usize) -> u64 {
        let end = offset.checked_add(length);
        let is_inside = end.is_some_and(|end| end <= self.byte_count());
        assert!(is_inside, "{length} bytes at {offset} of {} mapped frames", self.count);
        self.address + offset as u64
    }

    /// Copies bytes out; their owner may change them meanwhile.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        let from = self.place(offset, into.len());
        // SAFETY: the range is mapped; the target is the caller's alone.
        unsafe { memory::copy_opaque(into.as_mut_ptr(), from as *const u8, into.len()) };
    }

    /// Copies bytes in; the frames must have been mapped to write.
    pub fn write(&self, offset: usize, from: &[u8]) {
        let into = self.place(offset, from.len());
        // SAFETY: the range is mapped and holds nothing that Rust knows of.
        unsafe { memory::copy_opaque(into as *mut u8, from.as_ptr(), from.len()) };
    }

    /// Copies from other frames.
    pub fn copy_from(&self, offset: usize, from: &Foreign, from_offset: usize, length: usize) {
        let (into, from) = (self.place(offset, length), from.place(from_offset, length));
        // SAFETY: both ranges are mapped and hold nothing that Rust knows of.
        unsafe { memory::copy_opaque(into as *mut u8, from as *const u8, length) };
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's, and no reference into it is ever given out.
        unsafe { window::unmap(self.address, self.count) };
    }
}
