//! The memory functions that the compiler calls, which no library provides here.
//! String instructions, so that the compiler does not turn their bodies into calls of themselves.
use core::arch::asm;

/// Copies `length` bytes between ranges that do not overlap.
///
/// # Safety
/// As C's `memcpy`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the caller vouches for both ranges.
    unsafe { copy_opaque(to, from, length) };
    to
}

/// Copies `length` bytes by words, then by bytes, ascending, without telling the compiler what they are: either range
/// may be memory that another domain uses.
///
/// # Safety
/// Both ranges are mapped, the target's is writable and nobody in this guest relies on its contents.
pub(crate) unsafe fn copy_opaque(to: *mut u8, from: *const u8, length: usize) {
    // SAFETY: the caller's promise; the direction flag is clear in compiled code.
    unsafe {
        asm!(
            "rep movsq", "mov ecx, {rest:e}", "rep movsb",
            rest = in(reg) length & 7,
            inout("rcx") length / 8 => _,
            inout("rdi") to => _,
            inout("rsi") from => _,
            options(nostack, preserves_flags),
        )
    };
}

/// Copies `length` bytes between ranges that may overlap.
///
/// # Safety
/// As C's `memmove`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= length {
        // SAFETY: an ascending copy reads each byte before it is written here.
        return unsafe { memcpy(to, from, length) };
    }
    // SAFETY: the caller vouches for both ranges; a descending copy, with the direction flag put back. With `length`
    // above zero, as the comparison has shown, the last bytes' addresses are within the ranges.
    unsafe {
        asm!(
            "std", "rep movsb", "cld",
            inout("rcx") length => _,
            inout("rdi") to.add(length - 1) => _,
            inout("rsi") from.add(length - 1) => _,
        )
    };
    to
}

/// Fills `length` bytes.
///
/// # Safety
/// As C's `memset`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memset(to: *mut u8, value: i32, length: usize) -> *mut u8 {
    // SAFETY: the caller vouches for the range.
    unsafe {
        asm!(
            "rep stosq", "mov ecx, {rest:e}", "rep stosb",
            rest = in(reg) length & 7,
            inout("rcx") length / 8 => _,
            inout("rdi") to => _,
            in("rax") u64::from(value as u8) * 0x0101_0101_0101_0101,
            options(nostack, preserves_flags),
        )
    };
    to
}

/// Compares `length` bytes.
///
/// # Safety
/// As C's `memcmp`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
    for index in 0..length {
        // SAFETY: the caller vouches for both ranges; volatile, or the loop would become a call of this function.
        let (a, b) = unsafe { (left.add(index).read_volatile(), right.add(index).read_volatile()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}

/// Compares `length` bytes for equality.
///
/// # Safety
/// As C's `bcmp`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
    // SAFETY: the same contract.
    unsafe { memcmp(left, right, length) }
}

/// Referred to by `core`'s precompiled code; never called, for a panic aborts.
#[unsafe(no_mangle)]
pub extern "C" fn rust_eh_personality() {}

/// Referred to by the landing pads of `alloc`'s precompiled code; never called, for a panic aborts.
#[unsafe(no_mangle)]
pub extern "C" fn _Unwind_Resume() -> ! {
    crate::hypercall::shutdown(xen_abi::SHUTDOWN_crash)
}
