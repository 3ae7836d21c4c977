//! Every hypercall with bad pointers, bad frames and bad numbers; wild page tables, descriptors, callbacks and
//! returns. Each must be refused with an errno, or succeed harmlessly where Xen's interface says so, or be delivered
//! as a trap. The kernel still running at the end is the main thing.
#![no_std]
#![no_main]
mod debug;
mod memory;
mod numbers;
mod pointers;
mod returns;
mod segments;
mod tables;

use guest_rt::hypercall;
use xen_abi::Errno;

guest_rt::kernel!(main);

/// A hypercall whose arguments are wrong on purpose. Callers pass arguments from which the hypervisor, if it did obey,
/// would harm no memory that Rust relies on.
fn call(number: u64, args: [u64; 6]) -> i64 {
    // SAFETY: see above; a hypervisor that does more than it should is what the test would find.
    unsafe { hypercall::hypercall(number, args) }
}

/// Whether an answer is an errno.
fn refused(answer: i64) -> bool {
    (-4095..0).contains(&answer)
}

/// Whether an answer is this errno.
fn is(answer: i64, errno: Errno) -> bool {
    answer == -i64::from(errno.0)
}

fn main() {
    pointers::run();
    numbers::run();
    memory::run();
    tables::run();
    segments::run();
    debug::run();
    returns::run();
}
