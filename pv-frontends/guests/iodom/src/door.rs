//! The hypervisor as the toolstack's operations want it: hypercalls with their memory, and other domains' frames.
use alloc::vec::Vec;

use guest_rt::foreign::Foreign;
use guest_rt::hypercall::hypercall;
use iodom_core::build::Control;
use xen_abi::*;
use xenctrl_core::{Arg, Block, Bytes, DomId, Door, Error, Failure, Mapped, Resource};
use zerocopy::IntoBytes;

/// The way to the hypervisor.
#[derive(Debug)]
pub(crate) struct Hypercalls;

/// Memory of another domain, or of this one.
#[derive(Debug)]
pub(crate) enum Pages {
    /// Mapped frames.
    Foreign(Foreign),
    /// Bytes of the boot module, to be copied from.
    Own(&'static [u8]),
}

impl Mapped for Pages {
    fn len(&self) -> usize {
        match self {
            Self::Foreign(frames) => frames.byte_count(),
            Self::Own(bytes) => bytes.len(),
        }
    }

    fn read(&self, offset: usize, into: &mut [u8]) {
        match self {
            Self::Foreign(frames) => frames.read(offset, into),
            Self::Own(bytes) => into.copy_from_slice(&bytes[offset..offset + into.len()]),
        }
    }

    fn write(&self, offset: usize, from: &[u8]) {
        match self {
            Self::Foreign(frames) => frames.write(offset, from),
            Self::Own(_) => panic!("the boot module is only read"),
        }
    }

    fn copy_from(&self, offset: usize, from: &Self, from_offset: usize, len: usize) {
        match (self, from) {
            (_, Self::Own(bytes)) => self.write(offset, &bytes[from_offset..from_offset + len]),
            (Self::Foreign(into), Self::Foreign(from)) => into.copy_from(offset, from, from_offset, len),
            (Self::Own(_), _) => panic!("the boot module is only read"),
        }
    }

    fn fill(&self, offset: usize, len: usize, byte: u8) {
        let block = [byte; 512];
        for at in (0..len).step_by(block.len()) {
            self.write(offset + at, &block[..block.len().min(len - at)]);
        }
    }
}

/// A call's memory, in words so that structures are aligned.
struct Buffer(Vec<u64>);

impl Buffer {
    fn address(&self) -> u64 {
        self.0.as_ptr() as u64
    }

    fn bytes(&mut self) -> &mut [u8] {
        self.0.as_mut_slice().as_mut_bytes()
    }

    /// Copies a block and all below it in, from `next` on; the address of its own bytes.
    fn place(&mut self, block: &Block<'_>, next: &mut usize) -> u64 {
        let at = *next;
        let from = block.bytes.as_slice();
        *next += from.len().next_multiple_of(16);
        if !matches!(block.bytes, Bytes::Out(_)) {
            self.bytes()[at..at + from.len()].copy_from_slice(from);
        }
        for (offset, below) in &block.handles {
            let address = self.place(below, next);
            self.bytes()[at + offset..at + offset + 8].copy_from_slice(&address.to_le_bytes());
        }
        self.address() + at as u64
    }

    /// Copies back what the hypervisor wrote, in the order of `place`.
    fn take_back(&mut self, block: &mut Block<'_>, next: &mut usize) {
        let at = *next;
        *next += block.bytes.as_slice().len().next_multiple_of(16);
        for (offset, _) in &block.handles {
            let before = &block.bytes.as_slice()[*offset..*offset + 8];
            self.bytes()[at + offset..at + offset + 8].copy_from_slice(before);
        }
        if let Bytes::Out(bytes) | Bytes::InOut(bytes) = &mut block.bytes {
            let length = bytes.len();
            bytes.copy_from_slice(&self.bytes()[at..at + length]);
        }
        for (_, below) in &mut block.handles {
            self.take_back(below, next);
        }
    }
}

fn failure(answer: i64) -> Failure {
    Errno(u16::try_from(-answer).unwrap_or(Errno::EINVAL.0)).into()
}

impl Door for Hypercalls {
    type Mapping = Pages;

    fn call(&self, op: u64, args: &mut [Arg<'_>]) -> Result<i64, Failure> {
        let room: usize = args.iter().map(Arg::room).sum();
        let mut buffer = Buffer(alloc::vec![0; room.div_ceil(8)]);
        let (mut words, mut next) = ([0; 6], 0);
        for (word, arg) in words.iter_mut().zip(args.iter()) {
            *word = match arg {
                Arg::Word(value) => *value,
                Arg::Memory(block) => buffer.place(block, &mut next),
            };
        }
        // SAFETY: what the arguments point to lies in `buffer`, which is this call's, as long as the blocks say.
        let answer = unsafe { hypercall(op, words) };
        // The hypervisor has written there, behind the compiler's back.
        let mut buffer = core::hint::black_box(buffer);
        let mut next = 0;
        for arg in args {
            if let Arg::Memory(block) = arg {
                buffer.take_back(block, &mut next);
            }
        }
        if answer < 0 { Err(failure(answer)) } else { Ok(answer) }
    }

    fn map_frames(&self, domid: DomId, mfns: &[u64], writable: bool) -> Result<Pages, Failure> {
        Foreign::map(domid, mfns, writable).map(Pages::Foreign).map_err(failure)
    }

    fn map_resource_frames(&self, domid: DomId, what: Resource, index: u32, count: usize) -> Result<Pages, Failure> {
        let mut frames = alloc::vec![0u64; count];
        let mut ask = xen_mem_acquire_resource {
            domid,
            typ: XENMEM_resource_grant_table,
            id: match what {
                Resource::GrantTable => XENMEM_resource_grant_table_id_shared,
                Resource::GrantStatus => XENMEM_resource_grant_table_id_status,
            },
            nr_frames: count as u32,
            frame: index.into(),
            ..Default::default()
        };
        let handle = core::mem::offset_of!(xen_mem_acquire_resource, frame_list);
        let list = Block::output(frames.as_mut_slice().as_mut_bytes());
        let block = Block::structure(&mut ask).handle(handle, list);
        let mut args = [Arg::Word(XENMEM_acquire_resource.into()), Arg::Memory(block)];
        self.call(__HYPERVISOR_memory_op, &mut args)?;
        self.map_frames(domid, &frames, true)
    }
}

impl Control for Hypercalls {
    fn wrap(&self, bytes: &'static [u8]) -> Result<Pages, Error> {
        Ok(Pages::Own(bytes))
    }
}
