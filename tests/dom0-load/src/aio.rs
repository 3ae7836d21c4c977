//! A disk by the kernel's asynchronous requests (`linux/aio_abi.h`): as few system calls as there can be.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use crate::requests::failed;

/// Bytes of a sector.
pub(crate) const SECTOR: usize = 512;
/// What the page cache is passed by with must lie on such a boundary.
const ALIGNMENT: usize = 4096;

const IOCB_CMD_PREAD: u16 = 0;
const IOCB_CMD_PWRITE: u16 = 1;

/// `struct iocb`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Request {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: i16,
    file: u32,
    buffer: u64,
    bytes: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    event_file: u32,
}

/// `struct io_event`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Event {
    data: u64,
    request: u64,
    result: i64,
    result2: i64,
}

/// A disk, and a buffer for each request under way.
pub(crate) struct Disk {
    file: File,
    context: u64,
    bytes: usize,
    /// Requests that the disk has room for, one behind the other.
    places: u64,
    buffers: Vec<u8>,
    requests: Vec<Request>,
    idle: Vec<usize>,
}

impl Disk {
    /// Opens a device for requests of so many bytes, `depth` at a time; each buffer holds what stands at its place.
    pub(crate) fn open(device: &str, bytes: usize, depth: usize) -> Result<Self, String> {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_DIRECT)
            .open(device);
        let file = opened.map_err(|error| format!("{device}: {error}"))?;
        let size = size(device)?;
        let mut context = 0_u64;
        // SAFETY: the kernel writes the context's number to a word that lives.
        if unsafe { libc::syscall(libc::SYS_io_setup, depth, &raw mut context) } != 0 {
            return Err(failed("io_setup"));
        }
        let mut disk = Self {
            file,
            context,
            bytes,
            places: size / bytes as u64,
            buffers: vec![0; (depth + 1) * bytes.next_multiple_of(ALIGNMENT)],
            requests: vec![Request::default(); depth],
            idle: (0..depth).collect(),
        };
        for slot in 0..depth {
            let at = disk.buffer(slot);
            let read = disk
                .file
                .read_exact_at(&mut disk.buffers[at..at + bytes], (slot * bytes) as u64);
            read.map_err(|error| format!("{device}: {error}"))?;
        }
        Ok(disk)
    }

    /// Where a buffer begins.
    fn buffer(&self, slot: usize) -> usize {
        let start = self.buffers.as_ptr() as usize;
        start.next_multiple_of(ALIGNMENT) - start + slot * self.bytes.next_multiple_of(ALIGNMENT)
    }

    /// Makes so many requests; each buffer's write goes to the place that it was read from, a read anywhere.
    pub(crate) fn run(&mut self, is_write: bool, count: u32) -> Result<(), String> {
        let (mut begun, mut ended) = (0_u32, 0_u32);
        let mut events = vec![Event::default(); self.requests.len()];
        let mut list: Vec<*mut Request> = Vec::with_capacity(self.requests.len());
        while ended < count {
            list.clear();
            while begun < count {
                let Some(slot) = self.idle.pop() else { break };
                let place = if is_write {
                    slot as u64
                } else {
                    u64::from(begun) * 7919 % self.places
                };
                let at = self.buffer(slot);
                self.requests[slot] = Request {
                    data: slot as u64,
                    opcode: if is_write { IOCB_CMD_PWRITE } else { IOCB_CMD_PREAD },
                    file: self.file.as_raw_fd() as u32,
                    buffer: self.buffers[at..].as_mut_ptr() as u64,
                    bytes: self.bytes as u64,
                    offset: (place * self.bytes as u64) as i64,
                    ..Request::default()
                };
                list.push(&raw mut self.requests[slot]);
                begun += 1;
            }
            self.submit(&list)?;
            ended += self.land(&mut events)?;
        }
        Ok(())
    }

    fn submit(&self, list: &[*mut Request]) -> Result<(), String> {
        // SAFETY: the requests and their buffers live as long as this disk, and each buffer is in one request at most.
        let taken = unsafe { libc::syscall(libc::SYS_io_submit, self.context, list.len(), list.as_ptr()) };
        match usize::try_from(taken) {
            Ok(taken) if taken == list.len() => Ok(()),
            Ok(taken) => Err(format!("io_submit took {taken} of {} requests", list.len())),
            Err(_) => Err(failed("io_submit")),
        }
    }

    /// Waits for the end of at least one request; how many have ended.
    fn land(&mut self, events: &mut [Event]) -> Result<u32, String> {
        // SAFETY: the kernel writes no more events than there is room for; there is no time limit.
        let count = unsafe {
            libc::syscall(
                libc::SYS_io_getevents,
                self.context,
                1_i64,
                events.len(),
                events.as_mut_ptr(),
                std::ptr::null_mut::<libc::timespec>(),
            )
        };
        let count = usize::try_from(count).map_err(|_| failed("io_getevents"))?;
        for event in &events[..count] {
            if event.result != self.bytes as i64 {
                return Err(format!(
                    "a request for {} bytes ended with {}",
                    self.bytes, event.result
                ));
            }
            self.idle.push(event.data as usize);
        }
        Ok(count as u32)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // SAFETY: waits until no request of this context is under way; the buffers go afterwards.
        unsafe { libc::syscall(libc::SYS_io_destroy, self.context) };
    }
}

/// Bytes of a block device.
fn size(device: &str) -> Result<u64, String> {
    let name = device.rsplit('/').next().unwrap_or(device);
    let node = format!("/sys/class/block/{name}/size");
    let text = std::fs::read_to_string(&node).map_err(|error| format!("{node}: {error}"))?;
    let sectors: u64 = text.trim().parse().map_err(|_| format!("{node} says {text}"))?;
    Ok(sectors * SECTOR as u64)
}
