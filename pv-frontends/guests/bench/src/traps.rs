//! Ways into the hypervisor and back: hypercalls, exceptions, system calls, page faults. The guest's own instructions of
//! each path are taken off.
use crate::measure::{bench, of_loop};
use core::arch::{asm, global_asm};
use guest_rt::user::UserSpace;
use guest_rt::{check, hypercall, trap};
use xen_abi::*;

const ROUNDS: u64 = 200;

// Handlers that return at once: 10 instructions with the final syscall, 11 where the faulting 3-byte instruction is
// stepped over.
global_asm!(
    ".text",
    ".balign 16",
    ".global return_at_once",
    "return_at_once:",
    "pop rcx",
    "pop r11",
    "push 0",
    "push rcx",
    "push r11",
    "push rax",
    "mov eax, 23",
    "syscall",
    "ud2",
    ".balign 16",
    ".global step_over",
    "step_over:",
    "pop rcx",
    "pop r11",
    "add rsp, 8",
    "add qword ptr [rsp], 3",
    "push 0",
    "push rcx",
    "push r11",
    "push rax",
    "mov eax, 23",
    "syscall",
    "ud2",
    // User code: RDI system calls, then system call 1. Each round is 4 instructions, of the kernel's stub 10.
    ".global user_loop",
    "user_loop:",
    "mov rbx, rdi",
    "2: xor eax, eax",
    "syscall",
    "dec rbx",
    "jnz 2b",
    "mov eax, 1",
    "xor edi, edi",
    "syscall",
    // User code: RDI faulting reads of a null pointer; 3 instructions a round.
    ".global user_faults",
    "user_faults:",
    "mov rbx, rdi",
    "xor eax, eax",
    "2: mov rdx, [rax]",
    "dec rbx",
    "jnz 2b",
    "mov eax, 1",
    "xor edi, edi",
    "syscall",
    "user_end:",
    ".global user_end",
);

unsafe extern "C" {
    fn return_at_once();
    fn step_over();
    fn user_loop();
    fn user_faults();
    fn user_end();
}

const VECTOR_BREAKPOINT: u8 = 3;
const VECTOR_PAGE_FAULT: u8 = 14;

/// `ROUNDS` null hypercalls in a loop of 6 instructions.
fn null_hypercalls() {
    // SAFETY: `xen_version(0, NULL)` has no effect; the registers it clobbers are declared.
    unsafe {
        asm!(
            "2: mov eax, 17", "xor edi, edi", "xor esi, esi", "syscall", "dec r12", "jnz 2b",
            inout("r12") ROUNDS => _, out("rax") _, out("rcx") _, out("r11") _, out("rdi") _, out("rsi") _,
        )
    };
}

/// The same by the hypercall page: 7 instructions a round, and those of the page, 5 on either hypervisor.
fn paged_hypercalls() {
    // SAFETY: as above; the page's entry ends with `ret`.
    unsafe {
        asm!(
            "2: xor edi, edi", "xor esi, esi", "call {page}", "dec r12", "jnz 2b",
            page = in(reg) hypercall::page_entry(__HYPERVISOR_xen_version),
            inout("r12") ROUNDS => _, out("rax") _, out("rcx") _, out("r11") _, out("rdi") _, out("rsi") _,
        )
    };
}

/// `ROUNDS` breakpoints in a loop of 3 instructions.
fn breakpoints() {
    // SAFETY: the handler returns behind the breakpoint.
    unsafe { asm!("2: int3", "dec r12", "jnz 2b", inout("r12") ROUNDS => _) };
}

/// `ROUNDS` faulting reads in a loop of 3 instructions; `step_over` handles them.
fn kernel_faults() {
    // SAFETY: the handler steps over the read, which therefore has no effect.
    unsafe { asm!("2: mov rdx, [rax]", "dec r12", "jnz 2b", inout("r12") ROUNDS => _, in("rax") 0u64, out("rdx") _) };
}

fn set_handler(vector: u8, address: unsafe extern "C" fn()) {
    let entry = trap_info {
        vector,
        flags: TI_IF,
        cs: FLAT_KERNEL_CS,
        _pad: 0,
        address: address as usize as u64,
    };
    // SAFETY: the handlers passed here cope with their vectors.
    unsafe { hypercall::set_trap_table(&[entry, trap_info::default()]) };
}

/// User code that makes system calls and faults.
pub fn user_code() -> &'static [u8] {
    let start = user_loop as *const () as usize;
    // SAFETY: the bytes between the two symbols of this image's text.
    unsafe { core::slice::from_raw_parts(start as *const u8, user_end as *const () as usize - start) }
}

/// Measures all of them.
pub fn run() {
    bench("null_hypercall", of_loop(ROUNDS, null_hypercalls) - 6);
    bench("null_hypercall_by_page", of_loop(ROUNDS, paged_hypercalls));

    set_handler(VECTOR_BREAKPOINT, return_at_once);
    bench("exception_and_iret", of_loop(ROUNDS, breakpoints) - 2 - 8);
    set_handler(VECTOR_PAGE_FAULT, step_over);
    bench("page_fault_kernel", of_loop(ROUNDS, kernel_faults) - 3 - 10);

    let space = UserSpace::new(user_code()).expect("user space");
    check!("traps/user", space.activate() == 0, "NEW_USER_BASEPTR");
    let faults = user_faults as *const () as u64 - user_loop as *const () as u64;
    let mut results = 0;
    bench(
        "syscall_bounce",
        of_loop(ROUNDS, || results |= space.run(0, ROUNDS)) - 4 - 10,
    );
    bench(
        "page_fault_user",
        of_loop(ROUNDS, || results |= space.run(faults, ROUNDS)) - 3 - 10,
    );
    check!("traps/user-ran", results == 0, "{results}");
    trap::install_table();
}
