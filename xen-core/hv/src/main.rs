//! Paravane's hypervisor image: the only crate of the core with assembly and unsafe code.
//!
//! `hypercall` and `trap` call `domain`, which calls `mm`, which calls `arch`. `console` and `trace` are leaves.
#![no_std]
#![no_main]
#![allow(
    clippy::deref_addrof,
    reason = "mutable statics are reached by raw pointers, since the compiler forbids references to them"
)]
// Constants of the interface keep Xen's spelling, in patterns too.
#![allow(non_upper_case_globals)]

extern crate alloc;

mod arch;
mod boot;
mod console;
mod cpuid;
mod domain;
mod event;
mod grant;
mod guest;
mod hypercall;
mod irq;
mod mm;
mod sched;
mod sync;
mod time;
mod trace;
mod trap;
