//! The chain of frame pointers, printed as addresses; `cargo xtask guest` puts names to them.
use crate::vcpu;
use core::arch::asm;

/// Frames that are printed at most: a damaged chain may have a loop.
const MOST: usize = 32;

/// Prints the return addresses of the calling code, innermost first.
pub fn print() {
    let frame: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rbp", out(reg) frame, options(nomem, nostack, preserves_flags)) };
    print_from(frame);
}

/// Prints the return addresses found from a frame pointer on.
pub fn print_from(mut frame: u64) {
    for _ in 0..MOST {
        // Only stacks are read; the outermost frame pointer is 0.
        if !frame.is_multiple_of(8) || !vcpu::is_on_a_stack(frame) {
            return;
        }
        // SAFETY: two aligned words of a stack, which stays mapped.
        let [next, address] = unsafe { (frame as *const [u64; 2]).read_volatile() };
        crate::println!("guest: called from {address:#x}");
        if next <= frame {
            return;
        }
        frame = next;
    }
}
