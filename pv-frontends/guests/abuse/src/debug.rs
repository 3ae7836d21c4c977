//! Debug registers, and breakpoints that strike where the hypervisor is about to run.
use crate::{call, refused};
use core::arch::asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use guest_rt::trap::{self, TrapFrame};
use guest_rt::{check, hypercall};
use xen_abi::*;

fn set(register: u64, value: u64) -> i64 {
    call(__HYPERVISOR_set_debugreg, [register, value, 0, 0, 0, 0])
}

fn get(register: u64) -> i64 {
    call(__HYPERVISOR_get_debugreg, [register, 0, 0, 0, 0, 0])
}

fn registers() {
    for (name, address) in [
        ("hypervisor", 0xffff_82d0_4000_0000),
        ("hole", HYPERVISOR_VIRT_START),
        ("non-canonical", 0x8000_0000_0000),
    ] {
        for register in 0..4 {
            let answer = set(register, address);
            check!(
                format_args!("debug/address-{name}"),
                refused(answer),
                "DR{register}: {answer}"
            );
        }
    }
    for register in [8, 9, 255, u64::MAX] {
        let answers = [set(register, 0), get(register)];
        check!(
            "debug/register",
            answers.iter().all(|&answer| refused(answer)),
            "DR{register}: {answers:?}"
        );
    }
    let answers = [set(0, 0x1234_5678), get(0), set(0, 0), get(0)];
    check!("debug/kept", answers == [0, 0x1234_5678, 0, 0], "{answers:x?}");
    // General detect and the reserved bits must not reach the hardware.
    let answer = set(7, 1 << 13 | 1 << 11 | 1 << 12);
    let seen = get(7);
    check!(
        "debug/control",
        refused(answer) || seen & 1 << 13 == 0,
        "{answer} {seen:#x}"
    );
    check!("debug/control-clear", set(7, 0) == 0, "");
}

static STRUCK: AtomicU32 = AtomicU32::new(0);
static SELECTOR: AtomicU64 = AtomicU64::new(FLAT_KERNEL_SS as u64);

/// Counts debug exceptions and goes on.
fn count(frame: &mut TrapFrame) -> bool {
    if frame.vector != 1 {
        return false;
    }
    STRUCK.fetch_add(1, Ordering::Relaxed);
    frame.rflags &= !0x100;
    true
}

/// Loads SS from the watched word and enters the hypervisor with the next instruction: the pending debug exception
/// strikes there, on the guest's stack pointer.
fn stack_segment_then(name: &str, enter: fn(u64) -> u64) {
    let address = SELECTOR.as_ptr() as u64;
    // Break on reads and writes of 8 bytes at DR0.
    let armed = [set(0, address), set(7, 0b1011 << 16 | 1 << 0 | 1 << 8)];
    STRUCK.store(0, Ordering::Relaxed);
    let result = enter(address);
    let struck = STRUCK.load(Ordering::Relaxed);
    set(7, 0);
    check!(
        format_args!("debug/{name}"),
        armed == [0, 0] && result == 0x4_0011,
        "{armed:?} {result:#x}, struck {struck}"
    );
}

/// `mov ss` and a system call: `xen_version`.
fn by_syscall(address: u64) -> u64 {
    let result: u64;
    // SAFETY: the word holds the selector that SS has anyway; the call has no effect.
    unsafe {
        asm!(
            "mov ss, word ptr [rdx]", "syscall",
            inout("rax") __HYPERVISOR_xen_version => result, inout("rdi") 0u64 => _, inout("rsi") 0u64 => _,
            inout("rdx") address => _, out("rcx") _, out("r11") _,
        )
    };
    result
}

/// `mov ss` and the breakpoint instruction.
fn by_breakpoint(address: u64) -> u64 {
    // SAFETY: as above; the hook steps over nothing, the breakpoint's handler returns behind it.
    unsafe { asm!("mov ss, word ptr [rdx]", "int3", in("rdx") address) };
    by_syscall(address)
}

/// `mov ss` and the vector that is open to user mode.
fn by_interrupt(address: u64) -> u64 {
    // SAFETY: as above.
    unsafe { asm!("mov ss, word ptr [rdx]", "int 0x80", in("rdx") address) };
    by_syscall(address)
}

/// Single-steps into a system call.
fn by_step(_: u64) -> u64 {
    let result: u64;
    // SAFETY: the hook clears the flag again; the call has no effect.
    unsafe {
        asm!(
            "pushfq", "or qword ptr [rsp], 0x100", "popfq", "syscall",
            inout("rax") __HYPERVISOR_xen_version => result, inout("rdi") 0u64 => _, inout("rsi") 0u64 => _,
            out("rdx") _, out("rcx") _, out("r11") _,
        )
    };
    result
}

/// Software interrupts to vector 0x80 that arrived, and that were refused.
static ARRIVED: AtomicU32 = AtomicU32::new(0);
static DENIED: AtomicU32 = AtomicU32::new(0);

/// Lets breakpoints and vector 0x80 pass as well.
fn count_all(frame: &mut TrapFrame) -> bool {
    match frame.vector {
        3 => true,
        0x80 => ARRIVED.fetch_add(1, Ordering::Relaxed) < u32::MAX,
        // A protection fault for a vector of the interrupt table: step over the instruction's two bytes.
        13 if frame.error & 2 != 0 => {
            frame.rip += 2;
            DENIED.fetch_add(1, Ordering::Relaxed) < u32::MAX
        }
        _ => count(frame),
    }
}

pub(crate) fn run() {
    registers();
    trap::set_hook(count_all);
    stack_segment_then("mov-ss-syscall", by_syscall);
    stack_segment_then("mov-ss-breakpoint", by_breakpoint);
    stack_segment_then("mov-ss-interrupt", by_interrupt);
    let (arrived, denied) = (ARRIVED.load(Ordering::Relaxed), DENIED.load(Ordering::Relaxed));
    check!(
        "debug/interrupt-0x80",
        arrived == 1 && denied == 0,
        "{arrived} arrived, {denied} refused"
    );
    STRUCK.store(0, Ordering::Relaxed);
    let result = by_step(0);
    check!("debug/step-into-syscall", result == 0x4_0011, "{result:#x}");
    check!(
        "debug/stepped",
        STRUCK.load(Ordering::Relaxed) > 0,
        "no debug exception"
    );
    check!("debug/alive", hypercall::version() == 0x4_0011, "no answer");
    trap::clear_hook();
}
