//! The system calls that the loads share.

use std::io::Error;

/// Forks; the child runs `body` and ends with its status.
pub(crate) fn spawn(body: impl FnOnce() -> u8) -> Result<i32, String> {
    // SAFETY: the program is single-threaded wherever this is called, so the child may go on as the parent would.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(format!("fork: {}", Error::last_os_error())),
        0 => {
            let status = body();
            // SAFETY: ends this process; buffers of the standard streams are the parent's to write.
            unsafe { libc::_exit(i32::from(status)) }
        }
        pid => Ok(pid),
    }
}

/// Waits for a child's exit status.
pub(crate) fn wait(pid: i32) -> Result<i32, String> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a live integer.
        let result = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        if result == pid {
            break;
        }
        let error = Error::last_os_error();
        if error.raw_os_error() != Some(libc::EINTR) {
            return Err(format!("waitpid: {error}"));
        }
    }
    if libc::WIFEXITED(status) {
        Ok(libc::WEXITSTATUS(status))
    } else {
        Err(format!("a child died: {status:#x}"))
    }
}

/// Waits for children that must end with zero.
pub(crate) fn wait_all(pids: &[i32], what: &str) -> Result<(), String> {
    for &pid in pids {
        match wait(pid)? {
            0 => {}
            status => return Err(format!("{what}: a process ended with {status}")),
        }
    }
    Ok(())
}

/// Anonymous memory that is given back with the value.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: *mut u8,
    length: usize,
}

impl Mapping {
    /// Maps zeroed memory; `shared` memory is the same in children.
    pub(crate) fn new(length: usize, shared: bool) -> Result<Self, String> {
        let kind = if shared { libc::MAP_SHARED } else { libc::MAP_PRIVATE };
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), length, rights, kind | libc::MAP_ANONYMOUS, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(format!("mmap: {}", Error::last_os_error()));
        }
        Ok(Self {
            start: start.cast(),
            length,
        })
    }

    /// The first byte.
    pub(crate) fn start(&self) -> *mut u8 {
        self.start
    }

    /// The memory as words.
    pub(crate) fn words(&mut self) -> &mut [u64] {
        // SAFETY: the mapping is page-aligned, readable and writable, and borrowed as a whole.
        unsafe { std::slice::from_raw_parts_mut(self.start.cast(), self.length / 8) }
    }

    /// Changes the rights of a part.
    pub(crate) fn protect(&self, offset: usize, length: usize, rights: i32) -> Result<(), String> {
        assert!(offset + length <= self.length, "a part of the mapping");
        // SAFETY: the range lies in this mapping; whoever then faults on it handles the signal.
        let result = unsafe { libc::mprotect(self.start.add(offset).cast(), length, rights) };
        if result == 0 {
            Ok(())
        } else {
            Err(format!("mprotect: {}", Error::last_os_error()))
        }
    }

    /// Moves and resizes the mapping.
    pub(crate) fn resize(&mut self, length: usize) -> Result<(), String> {
        // SAFETY: the old range is this mapping, and no reference into it is alive (`&mut self`).
        let start = unsafe { libc::mremap(self.start.cast(), self.length, length, libc::MREMAP_MAYMOVE) };
        if start == libc::MAP_FAILED {
            return Err(format!("mremap: {}", Error::last_os_error()));
        }
        self.start = start.cast();
        self.length = length;
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is this mapping, and no reference into it outlives the value.
        unsafe { libc::munmap(self.start.cast(), self.length) };
    }
}

/// A cheap sequence of numbers that look random.
#[derive(Clone, Debug)]
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    /// The next number (xorshift).
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
