//! Pages that other domains grant to this one: mapped or copied, by `/dev/xen/gntdev`.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::sync::Arc;

use crate::DomId;
use crate::PAGE_SIZE;
use crate::Port;
use crate::device;
use crate::grant_set::{GrantSet, UNMAP_GRANT_REF};
use crate::mapping::Mapping;

/// `struct ioctl_gntdev_map_grant_ref` without its references; they follow in the words of one vector.
#[repr(C)]
struct RawMap {
    count: u32,
    _pad: u32,
    index: u64,
}

/// `struct ioctl_gntdev_unmap_notify`.
#[repr(C)]
struct RawNotify {
    index: u64,
    action: u32,
    port: u32,
}

/// `struct gntdev_grant_copy_segment`; a grant's end is `gref | offset << 32 | domid << 48`.
#[repr(C)]
struct RawSegment {
    source: u64,
    dest: u64,
    len: u16,
    flags: u16,
    status: i16,
    _pad: u16,
}

/// `struct ioctl_gntdev_grant_copy`.
#[repr(C)]
struct RawCopy {
    count: u32,
    _pad: u32,
    segments: u64,
}

// The sizes in the names of these requests include one reference.
const MAP_GRANT_REF: u64 = device::request(b'G', 0, size_of::<RawMap>() + 8);
const SET_UNMAP_NOTIFY: u64 = device::request(b'G', 7, size_of::<RawNotify>());
const GRANT_COPY: u64 = device::request(b'G', 8, size_of::<RawCopy>());

const UNMAP_NOTIFY_CLEAR_BYTE: u32 = 1;
const UNMAP_NOTIFY_SEND_EVENT: u32 = 2;
const GNTCOPY_SOURCE_GREF: u16 = 1;
const GNTCOPY_DEST_GREF: u16 = 2;

/// The device; clones share one descriptor.
#[derive(Clone, Debug)]
pub struct GrantDevice {
    file: Arc<File>,
}

/// Granted pages, mapped one behind the other; see [`Mapping`] for access. Dropping gives them back.
#[derive(Debug)]
pub struct GrantMap {
    // Unmapped before `hold` lets the kernel forget the grants.
    mapping: Mapping,
    hold: GrantSet,
}

/// This domain's end of a copy, and by that its direction.
pub enum Local<'a> {
    /// Bytes to copy into the grant.
    From(&'a [u8]),
    /// Room for bytes copied from the grant.
    Into(&'a mut [u8]),
}

/// One copy between a grant and memory of this process, within one granted page.
pub struct CopySegment<'a> {
    /// Who grants.
    pub domid: DomId,
    /// The reference.
    pub gref: u32,
    /// First byte in the granted page.
    pub offset: u16,
    /// The other end.
    pub local: Local<'a>,
    /// Out: `GNTST_*` of `xen-abi`, 0 for done.
    pub status: i16,
}

impl CopySegment<'_> {
    fn raw(&mut self) -> io::Result<RawSegment> {
        let grant = u64::from(self.gref) | u64::from(self.offset) << 32 | u64::from(self.domid) << 48;
        let (source, dest, len, flags) = match &mut self.local {
            Local::From(bytes) => (bytes.as_ptr() as u64, grant, bytes.len(), GNTCOPY_DEST_GREF),
            Local::Into(bytes) => (grant, bytes.as_mut_ptr() as u64, bytes.len(), GNTCOPY_SOURCE_GREF),
        };
        if usize::from(self.offset) + len > PAGE_SIZE {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(RawSegment {
            source,
            dest,
            len: len as u16,
            flags,
            status: 0,
            _pad: 0,
        })
    }
}

impl GrantDevice {
    /// Opens the device.
    ///
    /// # Errors
    /// With what to do: load a module, be root, be in a Xen domain.
    pub fn open() -> io::Result<Self> {
        let file = Arc::new(device::open(&["/dev/xen/gntdev"], 0, "xen-gntdev")?);
        Ok(Self { file })
    }

    /// Maps pages that `domid` grants, in the order given.
    ///
    /// # Errors
    /// The kernel's; `EINVAL` where the hypervisor refused one of the grants. Nothing stays mapped.
    pub fn map(&self, domid: DomId, grefs: &[u32], writable: bool) -> io::Result<GrantMap> {
        let count = u32::try_from(grefs.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        // Two words of `RawMap`, then a word for each reference: domain low, reference high.
        let mut words = vec![u64::from(count), 0];
        words.extend(grefs.iter().map(|gref| u64::from(domid) | u64::from(*gref) << 32));
        // SAFETY: `words` is `RawMap` with `count` references behind it.
        unsafe { device::ioctl(&self.file, MAP_GRANT_REF, words.as_mut_ptr() as u64)? };
        let hold = GrantSet {
            file: self.file.clone(),
            index: words[1],
            count,
            forget: UNMAP_GRANT_REF,
        };
        let mapping = Mapping::of_file(&*self.file, hold.index, grefs.len() * PAGE_SIZE, writable)?;
        Ok(GrantMap { mapping, hold })
    }

    /// Copies between grants and local memory, each segment with its own status.
    ///
    /// # Errors
    /// The kernel's, where none or only some were tried; a segment that leaves its page.
    pub fn copy(&self, segments: &mut [CopySegment<'_>]) -> io::Result<()> {
        let mut raw = segments
            .iter_mut()
            .map(CopySegment::raw)
            .collect::<io::Result<Vec<_>>>()?;
        let mut request = RawCopy {
            count: raw.len() as u32,
            _pad: 0,
            segments: raw.as_mut_ptr() as u64,
        };
        // SAFETY: the request's structure; each local end is borrowed by its segment as its direction asks.
        unsafe { device::ioctl_with(&self.file, GRANT_COPY, &mut request)? };
        for (segment, raw) in segments.iter_mut().zip(&raw) {
            segment.status = raw.status;
        }
        Ok(())
    }
}

impl GrantMap {
    /// Asks the kernel to clear a byte and to send an event when the pages are unmapped, also by this process's death.
    ///
    /// # Errors
    /// The kernel's.
    pub fn notify_on_unmap(&self, clear_byte: Option<usize>, event: Option<Port>) -> io::Result<()> {
        let mut raw = RawNotify {
            index: self.hold.index + clear_byte.unwrap_or(0) as u64,
            action: clear_byte.map_or(0, |_| UNMAP_NOTIFY_CLEAR_BYTE) | event.map_or(0, |_| UNMAP_NOTIFY_SEND_EVENT),
            port: event.unwrap_or(0),
        };
        // SAFETY: the request's structure.
        unsafe { device::ioctl_with(&self.hold.file, SET_UNMAP_NOTIFY, &mut raw)? };
        Ok(())
    }
}

impl Deref for GrantMap {
    type Target = Mapping;

    fn deref(&self) -> &Mapping {
        &self.mapping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_laid_out_as_the_kernel_reads_them() {
        assert_eq!(size_of::<RawSegment>(), 24);
        let mut room = [0; 16];
        let mut segment = CopySegment {
            domid: 3,
            gref: 0x1234_5678,
            offset: 0xff0,
            local: Local::Into(&mut room),
            status: 0,
        };
        let raw = segment.raw().unwrap();
        assert_eq!(raw.source, 0x0003_0ff0_1234_5678);
        assert_eq!((raw.len, raw.flags), (16, GNTCOPY_SOURCE_GREF));
        segment.offset = 0xff1;
        assert!(segment.raw().is_err(), "it would leave the page");
    }
}
