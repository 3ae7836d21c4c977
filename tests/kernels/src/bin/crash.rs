//! Kernels that go wrong in a way they cannot handle: the hypervisor must end the domain and say why.
//! The first word of the command line chooses how; the last line printed is `about to: WORD`.
#![no_std]
#![no_main]
use guest_rt::{hypercall, pages, println, start_info};
use xen_abi::*;

guest_rt::kernel!(main);

fn main() {
    let line = &start_info().cmd_line;
    let end = line
        .iter()
        .position(|&byte| byte == 0 || byte == b' ')
        .unwrap_or(line.len());
    let word = core::str::from_utf8(&line[..end]).unwrap_or("");
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
    // SAFETY: ends the domain.
    unsafe { core::arch::asm!("ud2") };
}

/// A fault while the stack pointer, where the bounce frame would go, is not mapped.
fn fault_without_stack() {
    // SAFETY: ends the domain; nothing runs on the wild stack.
    unsafe { core::arch::asm!("mov rsp, 0x1000", "ud2", options(noreturn)) };
}

/// An iret hypercall whose frame cannot be read.
fn return_to_nowhere() {
    let _ = pages::boot_root();
    // SAFETY: ends the domain.
    unsafe { core::arch::asm!("mov rsp, 0x1000", "mov eax, 23", "syscall", "ud2", options(noreturn)) };
}
