//! Traps in kernel and user mode, the emulated instructions, segment bases.
use core::arch::{asm, global_asm};
use guest_rt::trap::{self, Trap, catch};
use guest_rt::user::UserSpace;
use guest_rt::{check, hypercall, vcpu};
use xen_abi::*;

global_asm!(
    ".text",
    ".global user_text",
    "user_text:",
    // 0: RDI system calls.
    "mov rbx, rdi",
    "2: xor eax, eax",
    "syscall",
    "dec rbx",
    "jnz 2b",
    "mov rdi, 0x1234",
    "3: mov eax, 1",
    "syscall",
    // Reads the address in RDI.
    ".global user_read",
    "user_read:",
    "mov rdi, [rdi]",
    "jmp 3b",
    // Writes to its stack and reads it back.
    ".global user_stack",
    "user_stack:",
    "push rdi",
    "pop rdi",
    "inc rdi",
    "jmp 3b",
    ".global user_text_end",
    "user_text_end:",
);

unsafe extern "C" {
    fn user_text();
    fn user_read();
    fn user_stack();
    fn user_text_end();
}

extern "C" fn breakpoint(_: u64) -> u64 {
    // SAFETY: traps; `catch` resumes.
    unsafe { asm!("int3") };
    0
}

extern "C" fn divide(_: u64) -> u64 {
    // SAFETY: traps; `catch` resumes.
    unsafe { asm!("div {0:r}", in(reg) 0u64, inout("rax") 1u64 => _, inout("rdx") 0u64 => _) };
    0
}

extern "C" fn read_msr(number: u64) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: emulated, or traps; `catch` resumes.
    unsafe { asm!("rdmsr", in("ecx") number as u32, out("eax") low, out("edx") high) };
    u64::from(high) << 32 | u64::from(low)
}

extern "C" fn interrupt(_: u64) -> u64 {
    // SAFETY: the vector has a handler for privilege 0 only, traps; `catch` resumes.
    unsafe { asm!("int 0x21") };
    0
}

fn expect(name: &str, code: extern "C" fn(u64) -> u64, vector: u64) {
    let result = catch(code, 0);
    let holds = matches!(result, Err(trap) if trap.vector == vector && trap.error == 0);
    check!(name, holds, "{result:x?}");
}

fn cpuid_signature() -> [u32; 3] {
    let mut words = [0; 3];
    // SAFETY: the forced-emulation prefix makes the hypervisor answer; RBX is saved around it.
    unsafe {
        asm!(
            "push rbx", ".byte 0x0f, 0x0b, 0x78, 0x65, 0x6e", "cpuid", "mov esi, ebx", "pop rbx",
            inout("eax") XEN_CPUID_FIRST_LEAF => _, lateout("esi") words[0],
            out("ecx") words[1], out("edx") words[2],
        )
    };
    words
}

fn kernel_mode() {
    expect("traps/undefined", trap::undefined, 6);
    expect("traps/breakpoint", breakpoint, 3);
    expect("traps/divide", divide, 0);
    let wild = trap::read(0x8000_0000_0000_0000);
    check!(
        "traps/non-canonical",
        matches!(
            wild,
            Err(Trap {
                vector: 13,
                error: 0,
                ..
            })
        ),
        "{wild:x?}"
    );
    // A vector without a handler: an error code with the IDT bit. (QEMU 7.2 scales the vector wrongly in it.)
    let gate = catch(interrupt, 0);
    check!(
        "traps/interrupt-gate",
        matches!(gate, Err(trap) if trap.vector == 13 && trap.error & 7 == 2),
        "{gate:x?}"
    );
    let absent = trap::read(0x1008);
    let holds = matches!(
        absent,
        Err(Trap {
            vector: 14,
            error: 0 | 4,
            cr2: 0x1008,
            ..
        })
    );
    check!("traps/page-fault", holds, "{absent:x?}");
    let guard = trap::read(vcpu::boot_guard());
    check!(
        "traps/stack-guard",
        matches!(guard, Err(Trap { vector: 14, .. })),
        "{guard:x?}"
    );
    let hole = trap::read(HYPERVISOR_VIRT_END - 8);
    check!(
        "traps/hypervisor-hole",
        matches!(hole, Err(Trap { vector: 14, .. })),
        "{hole:x?}"
    );
    // SAFETY: the guest must not be able to.
    let table = unsafe { trap::write(MACH2PHYS_VIRT_START) };
    check!(
        "traps/m2p-is-read-only",
        matches!(table, Err(Trap { vector: 14, .. })),
        "{table:x?}"
    );
    let table = trap::read(MACH2PHYS_VIRT_START + 8 * guest_rt::pages::boot_root());
    check!("traps/m2p-is-readable", table.is_ok(), "{table:x?}");

    let words = cpuid_signature();
    let wanted = [
        XEN_CPUID_SIGNATURE_EBX,
        XEN_CPUID_SIGNATURE_ECX,
        XEN_CPUID_SIGNATURE_EDX,
    ];
    check!("traps/forced-cpuid", words == wanted, "{words:x?}");
    const EFER: u64 = 0xc000_0080;
    let efer = catch(read_msr, EFER);
    check!(
        "traps/rdmsr",
        matches!(efer, Ok(value) if value & 0x500 == 0x500),
        "{efer:x?}"
    );
    let absent = catch(read_msr, 0x1234_5678);
    check!(
        "traps/rdmsr-absent",
        matches!(
            absent,
            Err(Trap {
                vector: 13,
                error: 0,
                ..
            })
        ),
        "{absent:x?}"
    );
    let cr0: u64;
    // SAFETY: emulated reading.
    unsafe { asm!("mov {}, cr0", out(reg) cr0) };
    check!("traps/cr0", cr0 & 0x8001_0001 == 0x8001_0001, "{cr0:#x}");
    let cr3: u64;
    // SAFETY: emulated reading.
    unsafe { asm!("mov {}, cr3", out(reg) cr3) };
    check!("traps/cr3", cr3 == guest_rt::pages::boot_root() << 12, "{cr3:#x}");
}

fn segments() {
    static WORDS: [u64; 2] = [11, 22];
    for (index, &word) in WORDS.iter().enumerate() {
        // SAFETY: nothing else uses FS.
        let answer = unsafe { hypercall::set_segment_base(SEGBASE_FS, core::ptr::from_ref(&WORDS[index]) as u64) };
        let seen: u64;
        // SAFETY: FS points to a word of this function.
        unsafe { asm!("mov {}, fs:[0]", out(reg) seen) };
        check!("traps/fs-base", answer == 0 && seen == word, "{answer} {seen}");
    }
}

fn user_mode() {
    let start = user_text as *const () as usize;
    let length = user_text_end as *const () as usize - start;
    // SAFETY: the bytes between two symbols of this image's text.
    let code = unsafe { core::slice::from_raw_parts(start as *const u8, length) };
    let space = match UserSpace::new(code) {
        Ok(space) => space,
        Err(answer) => return check!("user/build", false, "{answer}"),
    };
    let answer = space.activate();
    check!("user/activate", answer == 0, "{answer}");
    let result = space.run(0, 1000);
    check!("user/system-calls", result == 0x1234, "{result:#x}");
    let result = space.run(user_stack as *const () as u64 - start as u64, 41);
    check!("user/stack", result == 42, "{result}");

    SPACE.set(space.root);
    let offset = user_read as *const () as u64 - start as u64;
    for (name, address) in [
        ("user/fault-null", 0),
        ("user/fault-kernel-text", start as u64),
        ("user/fault-m2p", MACH2PHYS_VIRT_START),
        ("user/fault-hypervisor", 0xffff_82d0_4000_0000),
    ] {
        USER_OFFSET.set(offset);
        let result = catch(read_in_user_mode, address);
        let holds = matches!(result, Err(Trap { vector: 14, error, cr2, .. }) if error & 4 == 4 && cr2 == address);
        check!(name, holds, "{result:x?}");
    }
    let result = space.run(0, 3);
    check!("user/after-faults", result == 0x1234, "{result:#x}");
}

/// A number that `catch`'s code takes besides its argument.
struct Number(core::sync::atomic::AtomicU64);
impl Number {
    fn set(&self, value: u64) {
        self.0.store(value, core::sync::atomic::Ordering::Relaxed);
    }
    fn get(&self) -> u64 {
        self.0.load(core::sync::atomic::Ordering::Relaxed)
    }
}
static SPACE: Number = Number(core::sync::atomic::AtomicU64::new(0));
static USER_OFFSET: Number = Number(core::sync::atomic::AtomicU64::new(0));

extern "C" fn read_in_user_mode(address: u64) -> u64 {
    UserSpace { root: SPACE.get() }.run(USER_OFFSET.get(), address)
}

pub(crate) fn run() {
    kernel_mode();
    segments();
    user_mode();
}
