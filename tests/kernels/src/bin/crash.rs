//! Kernels that go wrong in a way they cannot handle: the hypervisor must end the domain and say why.
//! The first word of the command line chooses how; the last line printed is `about to: WORD`.
#![no_std]
#![no_main]
use guest_rt::{hypercall, println, trap};
use xen_abi::*;

guest_rt::kernel!(main);

fn main() {
    let word = guest_rt::words().next().unwrap_or_default();
    println!("about to: {word}");
    match word {
        "panic" => panic!("as asked"),
        "stack" => fault_without_stack(),
        "iret" => return_to_nowhere(),
        "shutdown" => hypercall::shutdown(SHUTDOWN_crash),
        _ => fault_without_handler(),
    }
    println!("FAIL crash survived {word}");
}

/// An undefined instruction without a trap table.
fn fault_without_handler() {
    // SAFETY: a null table removes every handler, which is what the test is about.
    unsafe { hypercall::hypercall(__HYPERVISOR_set_trap_table, [0; 6]) };
    trap::undefined(0);
}

/// A fault while the stack pointer, where the bounce frame would go, is not mapped.
fn fault_without_stack() {
    // SAFETY: ends the domain; nothing runs on the wild stack.
    unsafe { core::arch::asm!("mov rsp, 0x1000", "ud2", options(noreturn)) };
}

/// An iret hypercall whose frame cannot be read.
fn return_to_nowhere() {
    // SAFETY: ends the domain.
    unsafe { core::arch::asm!("mov rsp, 0x1000", "mov eax, 23", "syscall", "ud2", options(noreturn)) };
}
