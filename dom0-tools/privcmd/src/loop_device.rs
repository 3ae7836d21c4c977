//! Files as block devices, by Linux's loop driver.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use crate::device;

const LOOP_CTL_GET_FREE: u64 = 0x4c82;
const LOOP_CONFIGURE: u64 = 0x4c0a;
const LOOP_CLR_FD: u64 = 0x4c01;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
const LO_FLAGS_DIRECT_IO: u32 = 16;

/// `struct loop_info64` of `linux/loop.h`.
#[repr(C)]
struct RawInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct RawConfig {
    fd: u32,
    block_size: u32,
    info: RawInfo,
    _reserved: [u64; 8],
}

/// How a loop device is set up.
#[derive(Clone, Copy, Default, Debug)]
pub struct LoopOptions {
    /// Refuse writes.
    pub read_only: bool,
    /// Detach the file when the last user closes the device.
    pub auto_clear: bool,
    /// Go around the page cache, where the file's file system can.
    pub direct_io: bool,
}

/// `/dev/loop-control`.
#[derive(Debug)]
pub struct LoopControl {
    file: File,
}

impl LoopControl {
    /// Opens the control device.
    ///
    /// # Errors
    /// With what to do: load a module, be root.
    pub fn open() -> io::Result<Self> {
        let file = device::open(&["/dev/loop-control"], 0, "loop")?;
        Ok(Self { file })
    }

    /// Attaches `path` to a free device and returns the device, open (which keeps it from auto-clearing), and its path.
    ///
    /// # Errors
    /// The kernel's, with the path.
    pub fn attach(&self, path: &Path, options: LoopOptions) -> io::Result<(File, PathBuf)> {
        let explain = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let backing = OpenOptions::new()
            .read(true)
            .write(!options.read_only)
            .open(path)
            .map_err(explain)?;
        // Another process may take the free device first; each failure means that one of them got ahead.
        for _ in 0..64 {
            // SAFETY: the request takes no argument.
            let number = unsafe { device::ioctl(&self.file, LOOP_CTL_GET_FREE, 0)? };
            let device_path = PathBuf::from(format!("/dev/loop{number}"));
            let device = OpenOptions::new()
                .read(true)
                .write(!options.read_only)
                .open(&device_path)?;
            match configure(&device, &backing, path, options) {
                Ok(()) => return Ok((device, device_path)),
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                Err(error) => return Err(explain(error)),
            }
        }
        Err(explain(io::Error::from_raw_os_error(libc::EBUSY)))
    }

    /// Detaches the file of a loop device; it stays until the last user has closed it.
    ///
    /// # Errors
    /// The kernel's; `ENXIO` where no file is attached.
    pub fn detach(device: &File) -> io::Result<()> {
        // SAFETY: the request takes no argument.
        unsafe { device::ioctl(device, LOOP_CLR_FD, 0) }.map(|_| ())
    }
}

fn configure(device: &File, backing: &File, path: &Path, options: LoopOptions) -> io::Result<()> {
    let mut name = [0; 64];
    let text = path.as_os_str().as_encoded_bytes();
    let len = text.len().min(name.len() - 1);
    name[..len].copy_from_slice(&text[..len]);
    let flag = |is_set: bool, bit: u32| if is_set { bit } else { 0 };
    let mut raw = RawConfig {
        fd: backing.as_fd().as_raw_fd() as u32,
        block_size: 0,
        info: RawInfo {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: flag(options.read_only, LO_FLAGS_READ_ONLY)
                | flag(options.auto_clear, LO_FLAGS_AUTOCLEAR)
                | flag(options.direct_io, LO_FLAGS_DIRECT_IO),
            file_name: name,
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        },
        _reserved: [0; 8],
    };
    // SAFETY: the request's structure, without addresses.
    unsafe { device::ioctl_with(device, LOOP_CONFIGURE, &mut raw) }.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_kernels_sizes() {
        assert_eq!(size_of::<RawInfo>(), 232);
        assert_eq!(size_of::<RawConfig>(), 304);
    }
}
