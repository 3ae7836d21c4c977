//! Opening the kernel's devices, and the one place that calls `ioctl`.

use std::ffi::c_int;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

/// Opens the first of `paths` that exists, to read and write, not inherited by children.
///
/// # Errors
/// With the path and what to do about it.
pub(crate) fn open(paths: &[&str], flags: c_int, module: &str) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(flags);
    let mut last = None;
    for path in paths {
        match options.open(path) {
            Ok(file) => return Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => last = last.or(Some((path, error))),
            Err(error) => return Err(explain(path, &error, module)),
        }
    }
    match last {
        Some((path, error)) => Err(explain(path, &error, module)),
        None => Err(io::ErrorKind::NotFound.into()),
    }
}

fn explain(path: &str, error: &io::Error, module: &str) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::NotFound => format!("is this Dom0, and is the module {module} loaded?"),
        io::ErrorKind::PermissionDenied => "run as root".to_owned(),
        _ => format!("see the kernel's log about {module}"),
    };
    io::Error::new(error.kind(), format!("cannot open {path}: {error}; {advice}"))
}

/// `_IOC(_IOC_NONE, kind, number, size)`: how Xen's devices name all their requests.
pub(crate) const fn request(kind: u8, number: u8, size: usize) -> u64 {
    nix::request_code_none!(kind, number) | (size as u64) << 16
}

/// One `ioctl` with a word or an address, whose result may be wider than an `int`.
///
/// # Errors
/// The kernel's.
///
/// # Safety
/// `arg` must be what `request` asks for: the kernel reads and writes there.
pub(crate) unsafe fn ioctl(file: &File, request: u64, arg: u64) -> io::Result<i64> {
    loop {
        // SAFETY: the caller vouches for `arg`; the descriptor is open as long as `file` is.
        let result = unsafe { libc::syscall(libc::SYS_ioctl, file.as_raw_fd(), request, arg) };
        if result >= 0 {
            return Ok(result);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// One `ioctl` whose argument is a structure that the kernel may change.
///
/// # Errors
/// The kernel's.
///
/// # Safety
/// `T` must be the structure that `request` asks for, and addresses in it must be good for what the kernel does there.
pub(crate) unsafe fn ioctl_with<T>(file: &File, request: u64, arg: &mut T) -> io::Result<i64> {
    // SAFETY: `arg` is exclusively borrowed for the call; the rest is the caller's promise.
    unsafe { ioctl(file, request, std::ptr::from_mut(arg) as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_kernels_numbers() {
        assert_eq!(request(b'P', 0, 48), 0x30_5000);
        assert_eq!(request(b'E', 5, 0), 0x4505);
    }

    #[test]
    fn a_missing_device_is_explained() {
        let text = open(&["/nonexistent/xen"], 0, "xen-evtchn").unwrap_err().to_string();
        assert!(
            text.contains("/nonexistent/xen") && text.contains("xen-evtchn"),
            "{text}"
        );
    }
}
