//! Copies between the hypervisor and guest virtual memory; a fault ends them with a count, not with a panic.
//!
//! With SMAP on, AC is set for the duration of the copy; the assembly picks that at run time by a flag that boot
//! sets once.

use core::arch::{asm, global_asm};

/// A guest access met a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault;

impl From<Fault> for xen_abi::Errno {
    fn from(_: Fault) -> Self {
        xen_abi::Errno::EFAULT
    }
}

unsafe extern "C" {
    fn paravane_copy_user(to: *mut u8, from: *const u8, len: usize) -> usize;
}

/// Whether SMAP is on; read by the assembly.
#[unsafe(no_mangle)]
static mut paravane_smap: u8 = 0;

/// Tells the copies that CR4.SMAP is set.
///
/// # Safety
/// Called once by the boot CPU, before a guest exists.
pub unsafe fn set_smap() {
    // SAFETY: no other CPU runs yet.
    unsafe { paravane_smap = 1 };
}

// Eight bytes at a time, then the rest: under instruction counting, and on old CPUs, byte copies are slow.
// Returns the bytes not copied.
global_asm!(
    ".global paravane_copy_user",
    "paravane_copy_user:",
    "cmpb $0, paravane_smap(%rip)",
    "jne 6f",
    "5: mov %rdx, %rcx",
    "and $7, %edx",
    "shr $3, %rcx",
    "1: rep movsq",
    "mov %edx, %ecx",
    "2: rep movsb",
    "3: mov %rcx, %rax",
    "ret",
    "6: stac",
    "call 5b",
    "clac",
    "ret",
    // A fault among the quadwords: rcx counts those left; among the bytes, the bytes left.
    "4: lea (%rdx,%rcx,8), %rcx",
    "jmp 3b",
    ".pushsection .ex_table, \"a\"",
    ".balign 8",
    ".quad 1b, 4b",
    ".quad 2b, 3b",
    ".popsection",
    options(att_syntax)
);

/// Copies `len` bytes to guest memory; returns how many were not copied.
///
/// # Safety
/// `from` is readable for `len` bytes; `addr..addr+len` lies outside the hypervisor's hole.
#[inline]
pub unsafe fn copy_to_guest(addr: u64, from: *const u8, len: usize) -> usize {
    // SAFETY: the caller vouches for the source; a fault at the target ends the copy.
    unsafe { paravane_copy_user(addr as *mut u8, from, len) }
}

/// Copies `len` bytes from guest memory; returns how many were not copied.
///
/// # Safety
/// `to` is writable for `len` bytes; `addr..addr+len` lies outside the hypervisor's hole.
#[inline]
pub unsafe fn copy_from_guest(to: *mut u8, addr: u64, len: usize) -> usize {
    // SAFETY: the caller vouches for the target; a fault at the source ends the copy.
    unsafe { paravane_copy_user(to, addr as *const u8, len) }
}

macro_rules! guarded {
    ($addr:expr, $ok:ident, $insn:literal, $($operand:tt)*) => {
        if !crate::guest::access_ok($addr, 8) {
            return Err(Fault);
        } else {
            user_access(true);
            // SAFETY: the address is outside the hypervisor's hole; the exception table turns a fault into
            // `ok` = 0.
            unsafe {
                asm!(
                    "mov {ok:e}, 1",
                    concat!("2: ", $insn),
                    "3:",
                    ".pushsection .text.fixup, \"ax\"",
                    "4: xor {ok:e}, {ok:e}",
                    "jmp 3b",
                    ".popsection",
                    ".pushsection .ex_table, \"a\"",
                    ".balign 8",
                    ".quad 2b, 4b",
                    ".popsection",
                    ok = out(reg) $ok,
                    $($operand)*
                    options(nostack),
                );
            }
            user_access(false);
        }
    };
}

/// Opens or closes guest memory to plain accesses where SMAP is on.
#[inline]
fn user_access(open: bool) {
    // SAFETY: the flag is written once at boot; stac and clac exist where it is set.
    unsafe {
        if core::ptr::addr_of!(paravane_smap).read() != 0 {
            if open {
                asm!("stac", options(nostack));
            } else {
                asm!("clac", options(nostack));
            }
        }
    }
}

/// Reads eight bytes of guest memory.
///
/// # Errors
/// [`Fault`] where there is none, or it is the hypervisor's.
#[inline]
pub fn read_u64(addr: u64) -> Result<u64, Fault> {
    let ok: u64;
    let value: u64;
    guarded!(addr, ok, "mov {v}, [{a}]", v = out(reg) value, a = in(reg) addr,);
    if ok != 0 { Ok(value) } else { Err(Fault) }
}
