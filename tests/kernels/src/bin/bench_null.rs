//! Counts what a null hypercall, a system call, a page fault and a process switch cost, in TSC ticks. Under QEMU's
//! `-icount shift=0` a tick is an instruction. The guest's own instructions of each path are taken off, so that
//! `BENCH name value` gives the hypervisor's. Each value is the least mean of several batches.
#![no_std]
#![no_main]
use core::arch::{asm, global_asm};
use guest_rt::pages::{self, PTE_READ_ONLY, protect, take_page};
use guest_rt::user::UserSpace;
use guest_rt::{check, hypercall, println, trap, vcpu};
use xen_abi::*;

guest_rt::kernel!(main);

const BATCHES: u32 = 9;
const ROUNDS: u64 = 200;

// A page-fault handler that steps over the faulting 3-byte instruction: 11 instructions with the final syscall.
global_asm!(
    ".text",
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
    // User code: RDI system calls, then system call 1. Each round is 4 instructions, of the kernel's stub 9.
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
    fn step_over();
    fn user_loop();
    fn user_faults();
    fn user_end();
}

fn tsc() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a counter.
    unsafe { asm!("rdtsc", out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags)) };
    u64::from(high) << 32 | u64::from(low)
}

/// The least mean ticks of a round, `rounds` being done by each call of `code`.
fn measure(rounds: u64, mut code: impl FnMut()) -> u64 {
    code();
    (0..BATCHES)
        .map(|_| {
            let start = tsc();
            code();
            (tsc() - start) / rounds
        })
        .min()
        .unwrap_or(0)
}

fn bench(name: &str, ticks: u64, own: u64) {
    println!("BENCH {name} {}", ticks.saturating_sub(own));
}

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

/// `ROUNDS` faulting reads in a loop of 3 instructions; `step_over` handles them.
fn kernel_faults() {
    // SAFETY: the handler steps over the read, which therefore has no effect.
    unsafe { asm!("2: mov rdx, [rax]", "dec r12", "jnz 2b", inout("r12") ROUNDS => _, in("rax") 0u64, out("rdx") _) };
}

fn set_fault_handler(address: u64) {
    let entry = trap_info {
        vector: 14,
        flags: TI_IF,
        cs: FLAT_KERNEL_CS,
        _pad: 0,
        address,
    };
    // SAFETY: both handlers passed here cope with page faults.
    unsafe { hypercall::set_trap_table(&[entry, trap_info::default()]) };
}

fn user_code() -> &'static [u8] {
    let start = user_loop as *const () as usize;
    // SAFETY: the bytes between the two symbols of this image's text.
    unsafe { core::slice::from_raw_parts(start as *const u8, user_end as *const () as usize - start) }
}

/// A second kernel L4 table like the boot one, pinned.
fn second_root() -> u64 {
    let root = take_page();
    for index in (0..256).chain(272..512) {
        root.write(index, pages::read_entry(pages::boot_root(), index as u64));
    }
    let made_read_only = protect(root, PTE_READ_ONLY);
    let pinned = pages::extended(MMUEXT_PIN_L4_TABLE, root.mfn(), 0);
    check!(
        "bench/second-l4",
        made_read_only == 0 && pinned == 0,
        "{made_read_only} {pinned}"
    );
    root.mfn()
}

/// A process switch as a kernel makes it: one multicall with the new stack and both page tables.
fn switch(root: u64, user: u64) -> i64 {
    let operations = [
        mmuext_op {
            cmd: MMUEXT_NEW_BASEPTR,
            _pad: 0,
            arg1: root,
            arg2: 0,
        },
        mmuext_op {
            cmd: MMUEXT_NEW_USER_BASEPTR,
            _pad: 0,
            arg1: user,
            arg2: 0,
        },
    ];
    let stack = vcpu::trap_stack_top(0);
    let mut calls = [multicall_entry::default(); 2];
    calls[0].op = __HYPERVISOR_stack_switch;
    calls[0].args = [FLAT_KERNEL_SS.into(), stack, 0, 0, 0, 0];
    calls[1].op = __HYPERVISOR_mmuext_op;
    calls[1].args = [operations.as_ptr() as u64, 2, 0, DOMID_SELF.into(), 0, 0];
    // SAFETY: both roots map the image alike; the hypervisor writes only the results into `calls`.
    let answer = unsafe { hypercall::hypercall(__HYPERVISOR_multicall, [calls.as_mut_ptr() as u64, 2, 0, 0, 0, 0]) };
    // SAFETY: the results were written behind the compiler's back.
    answer | unsafe { core::ptr::read_volatile(&raw const calls[1].result) } as i64
}

fn main() {
    bench("null_hypercall", measure(ROUNDS, null_hypercalls), 6);
    bench(
        "null_hypercall_wrapped",
        measure(1, || assert!(hypercall::version() > 0)),
        0,
    );

    set_fault_handler(step_over as *const () as u64);
    bench("kernel_fault_bounce", measure(ROUNDS, kernel_faults), 3 + 10);

    let first = UserSpace::new(user_code()).expect("user space");
    let second = UserSpace::new(user_code()).expect("user space");
    check!("bench/user", first.activate() == 0, "NEW_USER_BASEPTR");
    let faults = user_faults as *const () as u64 - user_loop as *const () as u64;
    bench(
        "syscall_bounce",
        measure(ROUNDS, || assert!(first.run(0, ROUNDS) == 0)),
        4 + 10,
    );
    bench(
        "user_fault_bounce",
        measure(ROUNDS, || assert!(first.run(faults, ROUNDS) == 0)),
        3 + 10,
    );
    trap::install_table();

    let (root, other) = (pages::boot_root(), second_root());
    let mut failures = 0;
    let ticks = measure(2 * ROUNDS, || {
        for _ in 0..ROUNDS {
            failures |= switch(other, second.root) | switch(root, first.root);
        }
    });
    bench("process_switch", ticks, 0);
    check!("bench/switch", failures == 0, "an operation failed: {failures}");
}
