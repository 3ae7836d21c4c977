//! Traps: the table, the common handler, and code that may trap and is told so.
use crate::{events, hypercall, vcpu};
use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering};
use xen_abi::*;

/// The registers as `start.s` saves them.
#[repr(C)]
#[derive(Debug)]
#[allow(missing_docs)]
pub struct TrapFrame {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rdi: u64,
    pub rsi: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub rdx: u64,
    pub rcx: u64,
    pub rax: u64,
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

/// Pseudo-vector of the event callback.
pub const VECTOR_EVENT: u64 = 256;
/// Pseudo-vector of the failsafe callback.
pub const VECTOR_FAILSAFE: u64 = 257;

/// A trap that [`catch`] caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trap {
    /// Vector, or a pseudo-vector.
    pub vector: u64,
    /// Error code, 0 where there is none.
    pub error: u64,
    /// `vcpu_info.arch.cr2` at that time.
    pub cr2: u64,
    /// Where it happened.
    pub rip: u64,
}

unsafe extern "C" {
    fn trap_stubs();
    fn event_stub();
    fn failsafe_stub();
    fn nmi_stub();
    fn syscall_stub();
    fn catch_resume();
    fn catch_call(code: extern "C" fn(u64) -> u64, argument: u64, recovery: *const u64) -> Caught;
}

/// What `catch_call` answers in RAX and RDX.
#[repr(C)]
struct Caught {
    value: u64,
    trapped: u64,
}

const STUB_SIZE: u64 = 16;

/// Entry of the event callback.
pub fn event_entry() -> u64 {
    event_stub as *const () as u64
}

/// Entry of the failsafe callback.
pub fn failsafe_entry() -> u64 {
    failsafe_stub as *const () as u64
}

/// Entry of the NMI callback.
pub fn nmi_entry() -> u64 {
    nmi_stub as *const () as u64
}

/// Entry of system calls from user mode.
pub fn syscall_entry() -> u64 {
    syscall_stub as *const () as u64
}

/// The trap table: vectors 0 to 31 and 0x80, events masked on entry; `int3`, `into` and 0x80 open to user mode.
pub fn table() -> impl Iterator<Item = trap_info> {
    let stubs = trap_stubs as *const () as u64;
    (0..33u64).map(move |index| {
        let vector = if index == 32 { 0x80 } else { index as u8 };
        let dpl = if matches!(vector, 3 | 4 | 0x80) { 3 } else { 0 };
        trap_info {
            vector,
            flags: TI_IF | dpl,
            cs: FLAT_KERNEL_CS,
            _pad: 0,
            address: stubs + index * STUB_SIZE,
        }
    })
}

/// Installs the trap table on the calling vcpu.
pub fn install_table() -> i64 {
    let mut list = [trap_info::default(); 34];
    for (slot, entry) in list.iter_mut().zip(table()) {
        *slot = entry;
    }
    // SAFETY: the stubs are entries for these vectors; the 34th entry ends the list.
    unsafe { hypercall::set_trap_table(&list) }
}

pub(crate) fn init() {
    install_table();
    for (typ, address) in [
        (CALLBACKTYPE_event, event_entry()),
        (CALLBACKTYPE_failsafe, failsafe_entry()),
        (CALLBACKTYPE_syscall, syscall_entry()),
    ] {
        let flags = if typ == CALLBACKTYPE_syscall {
            CALLBACKF_mask_events
        } else {
            0
        };
        hypercall::callback_op(
            CALLBACKOP_register,
            &mut callback_register {
                typ,
                flags,
                _pad: 0,
                address,
            },
        );
    }
}

static HOOK: AtomicUsize = AtomicUsize::new(0);

/// Sets a function that sees every trap first; where it answers true, the trap is dealt with.
pub fn set_hook(hook: fn(&mut TrapFrame) -> bool) {
    HOOK.store(hook as usize, Ordering::Release);
}

/// Removes the hook.
pub fn clear_hook() {
    HOOK.store(0, Ordering::Release);
}

/// Calls `code` with `argument`; a trap in it ends it and is the answer. It must hold nothing that needs dropping.
pub fn catch(code: extern "C" fn(u64) -> u64, argument: u64) -> Result<u64, Trap> {
    let this = vcpu::this();
    // SAFETY: `recovery` is two words of this vcpu's, used by the two asm functions alone.
    let caught = unsafe { catch_call(code, argument, this.recovery[0].as_ptr()) };
    if caught.trapped == 0 {
        return Ok(caught.value);
    }
    let [vector, error, cr2, rip] = [0, 1, 2, 3].map(|index| this.caught[index].load(Ordering::Relaxed));
    Err(Trap {
        vector,
        error,
        cr2,
        rip,
    })
}

/// Reads the word at an address, whatever is there; the trap where that cannot be read.
pub fn read(address: u64) -> Result<u64, Trap> {
    extern "C" fn load(address: u64) -> u64 {
        let word;
        // SAFETY: a load changes nothing that Rust knows of, and by assembly its value may be anything; a trap ends it.
        unsafe { asm!("mov {}, [{}]", out(reg) word, in(reg) address, options(nostack, readonly, preserves_flags)) };
        word
    }
    catch(load, address)
}

/// Writes 1 to the word at an address; the trap where that cannot be written.
///
/// # Safety
/// Where it can be written, nothing else uses that word now.
pub unsafe fn write(address: u64) -> Result<(), Trap> {
    extern "C" fn store(address: u64) -> u64 {
        // SAFETY: by the function's contract the word is nobody's; a trap ends it.
        unsafe { asm!("mov qword ptr [{}], 1", in(reg) address, options(nostack, preserves_flags)) };
        0
    }
    catch(store, address).map(|_| ())
}

/// An undefined instruction: code for [`catch`], and an end where nothing catches.
pub extern "C" fn undefined(_: u64) -> u64 {
    // SAFETY: it has no effect but the trap.
    unsafe { asm!("ud2", options(nostack)) };
    0
}

/// The vcpu's CR2 as the hypervisor left it.
pub fn cr2() -> u64 {
    events::vcpu_info_word(vcpu::number(), VCPU_INFO_CR2)
}

/// Sends the frame to where [`catch`] resumes, if this vcpu is in one.
fn recover(frame: &mut TrapFrame, cr2: u64) -> bool {
    let this = vcpu::this();
    if this.recovery[1].swap(0, Ordering::Relaxed) == 0 {
        return false;
    }
    for (slot, value) in this.caught.iter().zip([frame.vector, frame.error, cr2, frame.rip]) {
        slot.store(value, Ordering::Relaxed);
    }
    frame.rip = catch_resume as *const () as u64;
    frame.rsp = this.recovery[0].load(Ordering::Relaxed);
    frame.cs = u64::from(FLAT_KERNEL_CS & !3);
    frame.ss = FLAT_KERNEL_SS.into();
    frame.rflags = 0x202;
    true
}

#[unsafe(no_mangle)]
extern "C" fn guest_trap(frame: &mut TrapFrame) {
    let cr2 = cr2();
    if frame.vector == VECTOR_EVENT {
        vcpu::this().upcalls.fetch_add(1, Ordering::Relaxed);
        return events::dispatch();
    }
    let hook = HOOK.load(Ordering::Acquire);
    if hook != 0 {
        // SAFETY: only `set_hook` stores other values than 0, from this type.
        let hook: fn(&mut TrapFrame) -> bool = unsafe { core::mem::transmute(hook) };
        if hook(frame) {
            return;
        }
    }
    if recover(frame, cr2) {
        return;
    }
    crate::println!("FAIL trap {:#x} error {:#x} cr2 {cr2:#x}", frame.vector, frame.error);
    crate::println!("{frame:#x?}");
    crate::println!("guest: trap on vcpu {}", vcpu::number());
    crate::println!("guest: called from {:#x}", frame.rip);
    crate::backtrace::print_from(frame.rbp);
    crate::console::drain();
    hypercall::shutdown(SHUTDOWN_crash)
}
