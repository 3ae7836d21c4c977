//! Memory of other domains, mapped by frame or as a named resource.

use std::io;

use crate::PAGE_SIZE;
use crate::device;
use crate::hypercall::Privcmd;
use crate::mapping::Mapping;
use crate::{DomId, Resource};

/// `struct privcmd_mmapbatch_v2`.
#[repr(C)]
struct RawBatch {
    num: u32,
    dom: DomId,
    _pad: u16,
    addr: u64,
    arr: u64,
    err: u64,
}

/// `struct privcmd_mmap_resource`.
#[repr(C)]
struct RawResource {
    dom: DomId,
    _pad: u16,
    kind: u32,
    id: u32,
    index: u32,
    num: u64,
    addr: u64,
}

const MMAPBATCH_V2: u64 = device::request(b'P', 4, size_of::<RawBatch>());
const MMAP_RESOURCE: u64 = device::request(b'P', 7, size_of::<RawResource>());

/// Most frames of one mapping: 16 GiB.
const MAX_FRAMES: usize = 4 << 20;

impl Privcmd {
    /// Maps frames of a domain (machine frames, for a PV guest), in the order given.
    ///
    /// # Errors
    /// The hypervisor's, of the first frame that it refused, named in the text; nothing stays mapped.
    pub fn map_foreign(&self, domid: DomId, frames: &[u64], writable: bool) -> io::Result<Mapping> {
        if frames.len() > MAX_FRAMES {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mapping = Mapping::of_file(&self.file, 0, frames.len() * PAGE_SIZE, writable)?;
        let mut errors = vec![0i32; frames.len()];
        let mut batch = RawBatch {
            num: frames.len() as u32,
            dom: domid,
            _pad: 0,
            addr: mapping.address(),
            arr: frames.as_ptr() as u64,
            err: errors.as_mut_ptr() as u64,
        };
        // SAFETY: the request's structure; both lists have `num` entries, and the new mapping is ours alone.
        let result = unsafe { device::ioctl_with(&self.file, MMAPBATCH_V2, &mut batch) };
        if let Some((frame, error)) = frames.iter().zip(&errors).find(|(_, error)| **error != 0) {
            let error = io::Error::from_raw_os_error(-error);
            let text = format!("cannot map frame {frame:#x} of domain {domid}: {error}");
            return Err(io::Error::new(error.kind(), text));
        }
        result.map(|_| mapping)
    }

    /// Maps frames `index..index+count` of a resource of a domain.
    ///
    /// # Errors
    /// The hypervisor's.
    pub fn map_resource(&self, domid: DomId, what: Resource, index: u32, count: usize) -> io::Result<Mapping> {
        let mapping = Mapping::of_file(&self.file, 0, count * PAGE_SIZE, true)?;
        let mut raw = RawResource {
            dom: domid,
            _pad: 0,
            kind: 1,
            id: match what {
                Resource::GrantTable => 0,
                Resource::GrantStatus => 1,
            },
            index,
            num: count as u64,
            addr: mapping.address(),
        };
        // SAFETY: the request's structure; the new mapping of `num` pages is ours alone.
        unsafe { device::ioctl_with(&self.file, MMAP_RESOURCE, &mut raw)? };
        Ok(mapping)
    }
}
