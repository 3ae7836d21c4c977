//! A guest that attacks: every hypercall with bad pointers, bad frames and bad numbers; wild page tables, descriptors, callbacks and
//! returns. Each must be refused with an errno, or succeed harmlessly where Xen's interface says so, or be delivered
//! as a trap. The kernel still running at the end is the main thing.
#![no_std]
#![no_main]
#![allow(unreachable_pub, reason = "a program's modules speak to each other only")]
extern crate alloc;

mod debug;
mod foreign;
mod memory;
mod numbers;
mod pointers;
mod returns;
mod rings;
mod segments;
mod store;
mod tables;

use guest_rt::{Machine, hypercall, start_info};
use pv_xenbus::RingStore;
use xen_abi::{Errno, SIF_PRIVILEGED};

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

/// Whether this guest may manage others, as Dom0 may.
fn is_privileged() -> bool {
    start_info().flags & SIF_PRIVILEGED != 0
}

/// Whether an answer is this errno. A guest without privilege may be turned away before its arguments are looked at.
fn is(answer: i64, errno: Errno) -> bool {
    let is_errno = |errno: Errno| answer == -i64::from(errno.0);
    is_errno(errno) || !is_privileged() && is_errno(Errno::EPERM)
}

fn main() {
    pointers::run();
    numbers::run();
    memory::run();
    tables::run();
    segments::run();
    debug::run();
    returns::run();
    // In Dom0's place there is no store, and nobody beside.
    if let Ok(store) = RingStore::new(&Machine) {
        foreign::run(&store);
        rings::run(&store);
    }
}
