//! Returns to places and states that cannot be, and privileged instructions.
use core::arch::asm;
use guest_rt::check;
use guest_rt::trap::{VECTOR_FAILSAFE, catch};
use guest_rt::user::UserSpace;
use xen_abi::*;

unsafe extern "C" {
    fn hypervisor_iret();
}

/// Returns by the iret hypercall to a frame of which one part is bad; `catch` resumes.
fn iret_to(rip: u64, cs: u64, flags: u64, ss: u64) -> u64 {
    // SAFETY: the stack pointer of the frame is valid, below what is in use; whatever happens, `catch` resumes.
    unsafe {
        asm!(
            "mov rax, rsp", "sub rax, 512", "and rax, -16",
            "push rdi", "push rax", "push rsi", "push rdx", "push rcx", "jmp {iret}",
            in("rdi") ss, in("rsi") flags, in("rdx") cs, in("rcx") rip, iret = sym hypervisor_iret,
            options(noreturn)
        )
    }
}

const KERNEL_CS: u64 = (FLAT_KERNEL_CS & !3) as u64;
const USER_CS: u64 = FLAT_USER_CS64 as u64;
const SS: u64 = FLAT_KERNEL_SS as u64;

extern "C" fn kernel_rip(rip: u64) -> u64 {
    iret_to(rip, KERNEL_CS, 0x202, SS)
}

extern "C" fn kernel_cs(cs: u64) -> u64 {
    iret_to(undefined as *const () as u64, cs, 0x202, SS)
}

extern "C" fn kernel_ss(ss: u64) -> u64 {
    iret_to(undefined as *const () as u64, KERNEL_CS, 0x202, ss)
}

extern "C" fn kernel_flags(flags: u64) -> u64 {
    iret_to(undefined as *const () as u64, KERNEL_CS, flags, SS)
}

extern "C" fn user_rip(rip: u64) -> u64 {
    iret_to(rip, USER_CS, 0x202, SS)
}

/// Where returns that succeed arrive.
extern "C" fn undefined() {
    // SAFETY: traps; `catch` resumes.
    unsafe { asm!("ud2", options(noreturn)) }
}

/// Either the failsafe callback, or a trap at the far end of the return.
fn expect_failure(name: &str, code: extern "C" fn(u64) -> u64, argument: u64) {
    let result = catch(code, argument);
    let holds = matches!(result, Err(trap) if trap.vector == VECTOR_FAILSAFE || trap.vector == 13 || trap.vector == 14);
    check!(format_args!("returns/{name}"), holds, "{argument:#x}: {result:x?}");
}

/// The return arrives: the undefined instruction there says so.
fn expect_arrival(name: &str, code: extern "C" fn(u64) -> u64, argument: u64) {
    let result = catch(code, argument);
    let holds = matches!(result, Err(trap) if trap.vector == 6 || trap.vector == 1);
    check!(format_args!("returns/{name}"), holds, "{argument:#x}: {result:x?}");
}

fn kernel_returns() {
    for rip in [0x0000_8000_0000_0000, 0x8000_0000_0000_0000, 0xffff_7fff_ffff_fffe] {
        expect_failure("rip-non-canonical", kernel_rip, rip);
    }
    expect_failure("rip-hypervisor", kernel_rip, 0xffff_82d0_4000_0000);
    expect_failure("rip-unmapped", kernel_rip, 0x1000);
    for cs in [0, 0x8, 0xe008, 0xe028, 0xfff8, 0x7fff & !3] {
        expect_failure("cs", kernel_cs, cs);
    }
    for ss in [0x8, 0xe008, 0xfff8, 0x17] {
        expect_failure("ss", kernel_ss, ss);
    }
    expect_arrival("rip", kernel_rip, undefined as *const () as u64);
    // I/O privilege, nested task, virtual-8086 mode, identification, the reserved bits: dropped or harmless.
    for bit in [12, 13, 14, 16, 17, 18, 19, 20, 21, 22, 31, 32, 63] {
        expect_arrival("flags", kernel_flags, 0x202 | 1 << bit);
    }
    expect_arrival("flags-all", kernel_flags, !0x100);
    expect_arrival("flags-none", kernel_flags, 0);
}

fn user_returns() {
    let space = match UserSpace::new(&[0x0f, 0x0b]) {
        Ok(space) => space,
        Err(answer) => return check!("returns/user-space", false, "{answer}"),
    };
    check!("returns/activate", space.activate() == 0, "NEW_USER_BASEPTR");
    for rip in [
        0x0000_8000_0000_0000,
        0x0000_7fff_ffff_ffff,
        0xffff_82d0_4000_0000,
        0x1000,
        guest_rt::pages::VIRT_BASE,
    ] {
        expect_failure("user-rip", user_rip, rip);
    }
    expect_arrival("user", user_rip, guest_rt::user::CODE);
}

macro_rules! instruction {
    ($name:ident, $($text:literal),+) => {
        extern "C" fn $name(value: u64) -> u64 {
            let mut value = value;
            // SAFETY: traps, or is emulated without effect on what runs here; `catch` resumes.
            unsafe { asm!($($text),+, inout("rax") value, out("rcx") _, out("rdx") _) };
            value
        }
    };
}
instruction!(load_cr0, "mov cr0, rax");
instruction!(load_cr3, "mov cr3, rax");
instruction!(load_cr4, "mov cr4, rax");
instruction!(load_gdt, "lgdt [rax]");
instruction!(load_idt, "lidt [rax]");
instruction!(load_task, "ltr ax");
instruction!(load_local, "lldt ax");
instruction!(invalidate, "invlpg [rax]");
instruction!(drop_caches, "invd");
instruction!(write_efer, "mov ecx, 0xc0000080", "xor edx, edx", "wrmsr");
instruction!(write_lstar, "mov ecx, 0xc0000082", "xor edx, edx", "wrmsr");
instruction!(write_nowhere, "mov ecx, 0x12345678", "xor edx, edx", "wrmsr");
instruction!(return_from_system_call, "mov rcx, 0x1000", "sysretq");
instruction!(
    return_to_kernel,
    "push 0x10",
    "push rsp",
    "push 2",
    "push 8",
    "push rax",
    "iretq"
);

/// An instruction that must not have its effect: #GP or #UD.
fn expect_trap(name: &str, code: extern "C" fn(u64) -> u64, argument: u64) {
    let result = catch(code, argument);
    let holds = matches!(result, Err(trap) if matches!(trap.vector, 6 | 13 | 14));
    check!(format_args!("instructions/{name}"), holds, "{result:x?}");
}

fn instructions() {
    expect_trap("mov-cr3-nowhere", load_cr3, 1 << 51);
    expect_trap("lgdt", load_gdt, guest_rt::pages::VIRT_BASE + 0x10_0000);
    expect_trap("lidt", load_idt, guest_rt::pages::VIRT_BASE + 0x10_0000);
    expect_trap("ltr", load_task, 0xe040);
    expect_trap("lldt", load_local, 0xe040);
    expect_trap("sysret", return_from_system_call, 0);
    expect_trap("iretq-to-ring-0", return_to_kernel, guest_rt::pages::VIRT_BASE);
    expect_trap("wrmsr-absent", write_nowhere, 0);
    // These may be dropped, emulated or refused: this kernel must only be there afterwards, unharmed.
    let survived: [(&str, extern "C" fn(u64) -> u64, u64); 6] = [
        ("mov-cr0", load_cr0, 0),
        ("mov-cr4", load_cr4, u64::MAX),
        ("invlpg", invalidate, 0x1000),
        ("invd", drop_caches, 0),
        ("wrmsr-efer", write_efer, 0),
        ("wrmsr-lstar", write_lstar, 0x1000),
    ];
    for (name, code, argument) in survived {
        let result = catch(code, argument);
        check!(
            format_args!("instructions/{name}"),
            guest_rt::hypercall::version() == 0x4_0011,
            "{result:x?}"
        );
    }
}

pub(crate) fn run() {
    kernel_returns();
    user_returns();
    instructions();
}
