//! I/O ports, for a guest that may use them.
use crate::hypercall;
use core::arch::asm;
use xen_abi::*;

/// Asks for the right to use I/O instructions, which is a vcpu's own; the hypervisor's answer.
pub fn acquire() -> i64 {
    hypercall::physdev_op(PHYSDEVOP_set_iopl, &mut physdev_set_iopl { iopl: 1 })
}

/// Reads a doubleword. Without the right, or for a port that is not the guest's, it reads all ones or traps.
pub fn read_u32(port: u16) -> u32 {
    let value: u32;
    // SAFETY: what a device does of it is outside of this program's memory.
    unsafe { asm!("in eax, dx", out("eax") value, in("dx") port, options(nomem, nostack, preserves_flags)) };
    value
}

/// Writes a doubleword.
pub fn write_u32(port: u16, value: u32) {
    // SAFETY: as in `read_u32`; a device that is told to write to memory gets its addresses from code that says so.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nomem, nostack, preserves_flags)) };
}

/// Writes a word.
pub fn write_u16(port: u16, value: u16) {
    // SAFETY: as in `write_u32`.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nomem, nostack, preserves_flags)) };
}
