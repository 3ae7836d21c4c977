//! Hypercalls by `/dev/xen/privcmd`, with their arguments in memory that stays present.

use std::fs::File;
use std::io;
use std::sync::{Mutex, PoisonError};

use xen_abi::Errno;
use xenctrl_core::{Arg, Block, Bytes, Door, Failure};

use crate::device;
use crate::mapping::Mapping;
use crate::{DomId, PAGE_SIZE, Resource};

/// `struct privcmd_hypercall`.
#[repr(C)]
struct RawCall {
    op: u64,
    arg: [u64; 5],
}

const HYPERCALL: u64 = device::request(b'P', 0, size_of::<RawCall>());

/// Bytes of the buffer that a process starts with; a larger call replaces it.
const FIRST_ROOM: usize = 16 * PAGE_SIZE;
/// Largest memory for one call: more than any list that the tools send.
const MOST_ROOM: usize = 256 << 20;

/// Copies a block and all below it into `memory` from `next` on; the offset of its own bytes.
fn place(block: &Block<'_>, memory: &Mapping, next: &mut usize) -> usize {
    let at = *next;
    *next += block.bytes.as_slice().len().next_multiple_of(16);
    match &block.bytes {
        Bytes::In(bytes) => memory.write(at, bytes),
        Bytes::InOut(bytes) => memory.write(at, bytes),
        Bytes::Out(bytes) => memory.fill(at, bytes.len(), 0),
    }
    for (offset, below) in &block.handles {
        let target = place(below, memory, next);
        let address = memory.address() + target as u64;
        memory.write(at + offset, &address.to_le_bytes());
    }
    at
}

/// Copies back what the hypervisor wrote, in the order of `place`.
fn take_back(block: &mut Block<'_>, memory: &Mapping, next: &mut usize) {
    let at = *next;
    *next += block.bytes.as_slice().len().next_multiple_of(16);
    for (offset, _) in &block.handles {
        memory.write(at + offset, &block.bytes.as_slice()[*offset..*offset + 8]);
    }
    match &mut block.bytes {
        Bytes::In(_) => {}
        Bytes::Out(bytes) | Bytes::InOut(bytes) => memory.read(at, bytes),
    }
    for (_, below) in &mut block.handles {
        take_back(below, memory, next);
    }
}

/// The door for hypercalls and foreign memory.
#[derive(Debug)]
pub struct Privcmd {
    pub(crate) file: File,
    buffers: Option<File>,
    buffer: Mutex<Option<Mapping>>,
}

impl Privcmd {
    /// Opens the device.
    ///
    /// # Errors
    /// With what to do: load a module, be root, be Dom0.
    pub fn open() -> io::Result<Self> {
        let file = device::open(&["/dev/xen/privcmd", "/proc/xen/privcmd"], 0, "xen-privcmd")?;
        // Memory of this device cannot be migrated or swapped while the hypervisor looks at it. Older kernels lack it.
        let buffers = device::open(&["/dev/xen/hypercall"], 0, "xen-privcmd").ok();
        Ok(Self {
            file,
            buffers,
            buffer: Mutex::new(None),
        })
    }

    fn new_buffer(&self, len: usize) -> io::Result<Mapping> {
        match &self.buffers {
            Some(file) => Mapping::of_file(file, 0, len, true),
            None => Mapping::anonymous(len),
        }
    }

    /// Makes hypercall number `op` and returns what it answers, if not negative. Fewer than five arguments leave the
    /// others 0.
    ///
    /// A call can make the hypervisor do anything that Dom0 may, writing to addresses named in [`Arg::Word`] or in
    /// raw bytes included; like `/proc/self/mem` that is outside of what Rust's rules speak of. All memory for a call
    /// belongs into [`Block`]s.
    ///
    /// # Errors
    /// The hypervisor's error number, as [`io::Error::raw_os_error`].
    pub fn call(&self, op: u64, args: &mut [Arg<'_>]) -> io::Result<i64> {
        let room: usize = args.iter().map(Arg::room).sum();
        if args.len() > 5 || room > MOST_ROOM {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut slot = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        let memory = match slot.take() {
            Some(memory) if memory.len() >= room => slot.insert(memory),
            _ => slot.insert(self.new_buffer(room.next_multiple_of(PAGE_SIZE).max(FIRST_ROOM))?),
        };
        let mut raw = RawCall { op, arg: [0; 5] };
        let mut next = 0;
        for (word, arg) in raw.arg.iter_mut().zip(args.iter()) {
            *word = match arg {
                Arg::Word(value) => *value,
                Arg::Memory(block) => memory.address() + place(block, memory, &mut next) as u64,
            };
        }
        // SAFETY: the request's structure; blocks lie in `memory`, to which nothing else refers under the lock.
        let result = unsafe { device::ioctl_with(&self.file, HYPERCALL, &mut raw) };
        let mut next = 0;
        for arg in args {
            if let Arg::Memory(block) = arg {
                take_back(block, memory, &mut next);
            }
        }
        if memory.len() > FIRST_ROOM {
            *slot = None;
        }
        result
    }
}

/// What Linux said, as the operations of `xenctrl-core` want it.
fn failure(error: io::Error) -> Failure {
    let number = error.raw_os_error().and_then(|number| u16::try_from(number).ok());
    Failure {
        errno: number.map(Errno),
        cause: Some(error.into()),
    }
}

impl Door for Privcmd {
    type Mapping = Mapping;

    fn call(&self, op: u64, args: &mut [Arg<'_>]) -> Result<i64, Failure> {
        Privcmd::call(self, op, args).map_err(failure)
    }

    fn map_frames(&self, domid: DomId, mfns: &[u64], writable: bool) -> Result<Mapping, Failure> {
        self.map_foreign(domid, mfns, writable).map_err(failure)
    }

    fn map_resource_frames(&self, domid: DomId, what: Resource, index: u32, count: usize) -> Result<Mapping, Failure> {
        self.map_resource(domid, what, index, count).map_err(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::IntoBytes;

    #[test]
    fn blocks_are_laid_out_and_taken_back() {
        let memory = Mapping::anonymous(PAGE_SIZE).unwrap();
        let mut outer = [1u64, 2, 3];
        let list = [7u64, 8];
        let mut answer = [0xffu8; 5];
        let mut block = Block::structure(&mut outer)
            .handle(8, Block::input(list.as_bytes()))
            .handle(16, Block::output(&mut answer));
        let (mut next, room) = (0, block.room());
        assert_eq!(place(&block, &memory, &mut next), 0);
        assert_eq!((next, room), (32 + 16 + 16, 64));

        let word = |at: usize| memory.atomic_u64(at).load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(
            [word(0), word(8), word(16)],
            [1, memory.address() + 32, memory.address() + 48]
        );
        assert_eq!([word(32), word(40), word(48)], [7, 8, 0]);

        memory.write(0, &9u64.to_le_bytes());
        memory.write(48, b"hello");
        take_back(&mut block, &memory, &mut 0);
        assert_eq!(outer, [9, 2, 3], "handles come back as they were");
        assert_eq!(&answer, b"hello");
    }
}
