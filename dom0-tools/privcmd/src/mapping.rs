//! A run of mapped pages whose bytes somebody else may change at any time.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use xenctrl_core::{Mapped, PAGE_SIZE};

/// Mapped pages, unmapped when dropped.
///
/// Offsets are in bytes from the start. Each access panics when it leaves the mapping, as slices do: check what a
/// guest says before it becomes an offset.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping is memory of the process, not of a thread, and is only accessed by copies and atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above; two threads that copy to one place leave torn bytes there, as a guest may at any time.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes of `file` from `offset` on, shared.
    ///
    /// # Errors
    /// The kernel's, also for a length of 0.
    pub fn of_file(file: impl AsFd, offset: u64, len: usize, writable: bool) -> io::Result<Self> {
        Self::with_flags(file.as_fd(), offset, len, writable, MapFlags::MAP_SHARED)
    }

    /// Maps a file to read it once from end to end: its pages are mapped at once instead of by fault. A file that
    /// shrinks below the mapping while it is read ends the process (SIGBUS).
    ///
    /// # Errors
    /// The kernel's, also for a length of 0.
    pub fn of_file_to_read(file: impl AsFd, len: usize) -> io::Result<Self> {
        Self::with_flags(
            file.as_fd(),
            0,
            len,
            false,
            MapFlags::MAP_PRIVATE | MapFlags::MAP_POPULATE,
        )
    }

    fn with_flags(file: BorrowedFd<'_>, offset: u64, len: usize, writable: bool, flags: MapFlags) -> io::Result<Self> {
        let size = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
        let offset = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        let prot = if writable {
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE
        } else {
            ProtFlags::PROT_READ
        };
        // SAFETY: a new mapping at an address of the kernel's choice replaces nothing.
        let base = unsafe { mmap(None, size, prot, flags, file, offset)? };
        Ok(Self { base: base.cast(), len })
    }

    /// Maps zeroed memory of the process's own.
    ///
    /// # Errors
    /// The kernel's, also for a length of 0.
    pub fn anonymous(len: usize) -> io::Result<Self> {
        let size = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_POPULATE;
        // SAFETY: a new mapping at an address of the kernel's choice replaces nothing.
        let base = unsafe { mmap_anonymous(None, size, prot, flags)? };
        Ok(Self { base: base.cast(), len })
    }

    /// Maps pages of `file`, given by number, one behind the other: what a fake hypervisor needs for foreign memory.
    ///
    /// # Errors
    /// The kernel's, also for an empty list.
    pub fn of_pages(file: impl AsFd, pages: &[u64], writable: bool) -> io::Result<Self> {
        let whole = Self::of_file(&file, 0, pages.len() * PAGE_SIZE, writable)?;
        let prot = if writable {
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE
        } else {
            ProtFlags::PROT_READ
        };
        let mut at = 0;
        for run in pages.chunk_by(|a, b| a + 1 == *b) {
            let len = NonZeroUsize::new(run.len() * PAGE_SIZE).ok_or(io::ErrorKind::InvalidInput)?;
            let place = NonZeroUsize::new(whole.base.as_ptr() as usize + at);
            let offset = i64::try_from(run[0] * PAGE_SIZE as u64).map_err(|_| io::ErrorKind::InvalidInput)?;
            // SAFETY: `place..place+len` lies in `whole`, which is ours and which nothing refers to yet.
            unsafe {
                mmap(
                    place,
                    len,
                    prot,
                    MapFlags::MAP_SHARED | MapFlags::MAP_FIXED,
                    &file,
                    offset,
                )?
            };
            at += len.get();
        }
        Ok(whole)
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: a mapping has at least one byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The address, for the kernel or the hypervisor.
    pub(crate) fn address(&self) -> u64 {
        self.base.as_ptr() as u64
    }

    /// A pointer to `len` bytes at `offset`.
    pub(crate) fn range(&self, offset: usize, len: usize) -> *mut u8 {
        assert!(
            offset.checked_add(len).is_some_and(|end| end <= self.len),
            "access to {len} bytes at {offset} of a mapping of {}",
            self.len
        );
        // SAFETY: within the mapping, just checked.
        unsafe { self.base.as_ptr().add(offset) }
    }

    fn aligned<T>(&self, offset: usize) -> *mut T {
        let pointer = self.range(offset, size_of::<T>()).cast::<T>();
        assert!(pointer.is_aligned(), "unaligned access at {offset}");
        pointer
    }

    /// Copies bytes out. Bytes that change meanwhile may come from before or after the change.
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        let from = self.range(offset, into.len());
        // SAFETY: both ranges are good for their length and cannot overlap: nobody has a reference into a mapping.
        // Torn bytes are bytes.
        unsafe { copy(into.as_mut_ptr(), from, into.len()) };
    }

    /// Copies bytes in.
    pub fn write(&self, offset: usize, from: &[u8]) {
        let into = self.range(offset, from.len());
        // SAFETY: as in `read`.
        unsafe { copy(into, from.as_ptr(), from.len()) };
    }

    /// Copies from another mapping.
    pub fn copy_from(&self, offset: usize, from: &Mapping, from_offset: usize, len: usize) {
        let (into, from) = (self.range(offset, len), from.range(from_offset, len));
        // SAFETY: both ranges are good for `len`; where they overlap, bytes come out torn, and stay bytes.
        unsafe { copy(into, from, len) };
    }

    /// Sets all bytes of a range.
    pub fn fill(&self, offset: usize, len: usize, byte: u8) {
        let into = self.range(offset, len);
        // SAFETY: the range is good for `len`.
        unsafe { into.write_bytes(byte, len) };
    }

    /// The byte at `offset`, for atomic access.
    pub fn atomic_u8(&self, offset: usize) -> &AtomicU8 {
        // SAFETY: aligned, in range, alive as long as `self`; others access it as hardware does, atomically.
        unsafe { AtomicU8::from_ptr(self.aligned(offset)) }
    }

    /// The halfword at `offset`, which must be aligned, for atomic access.
    pub fn atomic_u16(&self, offset: usize) -> &AtomicU16 {
        // SAFETY: as in `atomic_u8`.
        unsafe { AtomicU16::from_ptr(self.aligned(offset)) }
    }

    /// The word at `offset`, which must be aligned, for atomic access.
    pub fn atomic_u32(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: as in `atomic_u8`.
        unsafe { AtomicU32::from_ptr(self.aligned(offset)) }
    }

    /// The doubleword at `offset`, which must be aligned, for atomic access.
    pub fn atomic_u64(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: as in `atomic_u8`.
        unsafe { AtomicU64::from_ptr(self.aligned(offset)) }
    }

    /// Loads an aligned word.
    pub fn load_u32(&self, offset: usize, order: Ordering) -> u32 {
        self.atomic_u32(offset).load(order)
    }

    /// Stores an aligned word.
    pub fn store_u32(&self, offset: usize, value: u32, order: Ordering) {
        self.atomic_u32(offset).store(value, order);
    }

    /// Stores an aligned doubleword.
    pub fn store_u64(&self, offset: usize, value: u64, order: Ordering) {
        self.atomic_u64(offset).store(value, order);
    }

    /// Reads from a file straight into the mapping; the number of bytes, 0 at the file's end.
    ///
    /// # Errors
    /// The kernel's.
    pub fn read_from(&self, offset: usize, len: usize, file: impl AsFd, file_offset: u64) -> io::Result<usize> {
        let into = self.range(offset, len);
        let at = i64::try_from(file_offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: the range is good for `len` bytes.
        let done = unsafe { libc::pread(file.as_fd().as_raw_fd(), into.cast(), len, at) };
        usize::try_from(done).map_err(|_| io::Error::last_os_error())
    }

    /// Writes to a file straight from the mapping; the number of bytes.
    ///
    /// # Errors
    /// The kernel's.
    pub fn write_to(&self, offset: usize, len: usize, file: impl AsFd, file_offset: u64) -> io::Result<usize> {
        let from = self.range(offset, len);
        let at = i64::try_from(file_offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: the range is good for `len` bytes.
        let done = unsafe { libc::pwrite(file.as_fd().as_raw_fd(), from.cast(), len, at) };
        usize::try_from(done).map_err(|_| io::Error::last_os_error())
    }
}

impl Mapped for Mapping {
    fn len(&self) -> usize {
        self.len
    }

    fn read(&self, offset: usize, into: &mut [u8]) {
        Mapping::read(self, offset, into);
    }

    fn write(&self, offset: usize, from: &[u8]) {
        Mapping::write(self, offset, from);
    }

    fn copy_from(&self, offset: usize, from: &Self, from_offset: usize, len: usize) {
        Mapping::copy_from(self, offset, from, from_offset, len);
    }

    fn fill(&self, offset: usize, len: usize, byte: u8) {
        Mapping::fill(self, offset, len, byte);
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference outlives `self`.
        let result = unsafe { munmap(self.base.cast(), self.len) };
        debug_assert!(result.is_ok(), "munmap of our own mapping: {result:?}");
    }
}

/// Copies in blocks of 64 bytes through vector registers. The C library would use `rep movsb` for long runs, which
/// software emulation runs byte by byte; this is one instruction for 5 bytes there, and fast everywhere.
///
/// # Safety
/// Both ranges must be good for `len` bytes.
unsafe fn copy(into: *mut u8, from: *const u8, len: usize) {
    let blocks = len / 64;
    let done = blocks * 64;
    if blocks != 0 {
        // SAFETY: `blocks` times 64 bytes lie in both ranges; only the registers named are changed.
        unsafe {
            std::arch::asm!(
                "2:",
                "movups {a}, [{from}]",
                "movups {b}, [{from} + 16]",
                "movups {c}, [{from} + 32]",
                "movups {d}, [{from} + 48]",
                "add {from}, 64",
                "movups [{into}], {a}",
                "movups [{into} + 16], {b}",
                "movups [{into} + 32], {c}",
                "movups [{into} + 48], {d}",
                "add {into}, 64",
                "dec {blocks}",
                "jnz 2b",
                from = inout(reg) from => _,
                into = inout(reg) into => _,
                blocks = inout(reg) blocks => _,
                a = out(xmm_reg) _,
                b = out(xmm_reg) _,
                c = out(xmm_reg) _,
                d = out(xmm_reg) _,
                options(nostack),
            );
        }
    }
    // SAFETY: the rest of both ranges, fewer than 64 bytes.
    unsafe { into.add(done).copy_from(from.add(done), len - done) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_in_and_out() {
        let memory = Mapping::anonymous(2 * PAGE_SIZE).unwrap();
        let bytes: Vec<u8> = (0..1000u32).map(|i| (i % 251) as u8).collect();
        for offset in [0, 1, 63, PAGE_SIZE - 500] {
            memory.fill(0, memory.len(), 0);
            memory.write(offset, &bytes);
            let mut back = vec![0; bytes.len() + 1];
            memory.read(offset, &mut back);
            assert_eq!(back[..bytes.len()], bytes);
            assert_eq!(back[bytes.len()], 0);
        }
        memory.store_u32(8, 7, Ordering::Release);
        assert_eq!(memory.load_u32(8, Ordering::Acquire), 7);
    }

    #[test]
    #[should_panic(expected = "access to 2 bytes")]
    fn leaving_a_mapping_panics() {
        Mapping::anonymous(PAGE_SIZE).unwrap().write(PAGE_SIZE - 1, &[1, 2]);
    }

    #[test]
    fn pages_of_a_file_come_in_the_order_asked_for() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4 * PAGE_SIZE as u64).unwrap();
        let whole = Mapping::of_file(&file, 0, 4 * PAGE_SIZE, true).unwrap();
        for page in 0..4 {
            whole.fill(page * PAGE_SIZE, PAGE_SIZE, page as u8);
        }
        let some = Mapping::of_pages(&file, &[3, 1, 2, 0], true).unwrap();
        let first: Vec<u8> = (0..4)
            .map(|page| some.atomic_u8(page * PAGE_SIZE).load(Ordering::Relaxed))
            .collect();
        assert_eq!(first, [3, 1, 2, 0]);
        some.fill(0, 1, 9);
        assert_eq!(whole.atomic_u8(3 * PAGE_SIZE).load(Ordering::Relaxed), 9);
    }
}
