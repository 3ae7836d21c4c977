//! The kernel's note of a set of grants, mapped or made, which ends with the last use of it here.

use std::fs::File;
use std::io;
use std::sync::Arc;

use crate::device;

/// `struct ioctl_gntdev_unmap_grant_ref`, and `struct ioctl_gntalloc_dealloc_gref` alike.
#[repr(C)]
struct RawSet {
    index: u64,
    count: u32,
    _pad: u32,
}

/// gntdev's request to forget a set.
pub(crate) const UNMAP_GRANT_REF: u64 = device::request(b'G', 1, size_of::<RawSet>());
/// gntalloc's request to forget a set.
pub(crate) const DEALLOC_GREF: u64 = device::request(b'G', 6, size_of::<RawSet>());

/// A set; dropping it has the kernel forget it, once its pages are unmapped.
#[derive(Debug)]
pub(crate) struct GrantSet {
    /// The device.
    pub(crate) file: Arc<File>,
    /// Where its pages begin in the device, in bytes.
    pub(crate) index: u64,
    /// How many grants.
    pub(crate) count: u32,
    /// [`UNMAP_GRANT_REF`] or [`DEALLOC_GREF`], as the device wants.
    pub(crate) forget: u64,
}

impl GrantSet {
    fn end(&self) -> io::Result<i64> {
        let mut raw = RawSet {
            index: self.index,
            count: self.count,
            _pad: 0,
        };
        // SAFETY: the structure of both requests. The pages are unmapped already, or stay with the mapping's own
        // reference.
        unsafe { device::ioctl_with(&self.file, self.forget, &mut raw) }
    }
}

impl Drop for GrantSet {
    fn drop(&mut self) {
        // An error means that the kernel holds no such set, which is what is asked for.
        let _ = self.end();
    }
}
