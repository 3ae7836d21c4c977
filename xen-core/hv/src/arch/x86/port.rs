//! I/O ports.

use x86_64::instructions::port::Port;

/// Reads `len` bytes (1, 2 or 4) from `port`.
///
/// # Safety
/// Reading that port has no effect on memory or on what the hypervisor relies on.
pub unsafe fn read(port: u16, len: u8) -> u32 {
    // SAFETY: the caller vouches for the port.
    unsafe {
        match len {
            1 => Port::<u8>::new(port).read() as u32,
            2 => Port::<u16>::new(port).read() as u32,
            _ => Port::<u32>::new(port).read(),
        }
    }
}

/// Writes the low `len` bytes (1, 2 or 4) of `value` to `port`.
///
/// # Safety
/// Writing that to the port breaks nothing that the hypervisor relies on.
pub unsafe fn write(port: u16, len: u8, value: u32) {
    // SAFETY: the caller vouches for the port and the value.
    unsafe {
        match len {
            1 => Port::<u8>::new(port).write(value as u8),
            2 => Port::<u16>::new(port).write(value as u16),
            _ => Port::<u32>::new(port).write(value),
        }
    }
}
