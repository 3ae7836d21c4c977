//! Looking for page-table entries that are present, many at a time: tables are mostly empty, and each is looked
//! through when it is checked and when it is undone.

use core::arch::asm;
use core::sync::atomic::AtomicU64;

/// Entries that are looked at together.
pub const GROUP: usize = 16;

/// Is none of these entries present? Each is read once, at some time during the call, while the CPU may set bits in it.
///
/// The compiler does not fold atomic loads into `or`, which makes the plain loop twice as long.
#[inline(always)]
pub fn none_present(group: &[AtomicU64; GROUP]) -> bool {
    let mut low: u32;
    // SAFETY: reads 16 words of a shared array, each by one aligned load of its low half.
    unsafe {
        asm!(
            "mov {v:e}, dword ptr [{p}]",
            "or {v:e}, dword ptr [{p} + 8]",
            "or {v:e}, dword ptr [{p} + 16]",
            "or {v:e}, dword ptr [{p} + 24]",
            "or {v:e}, dword ptr [{p} + 32]",
            "or {v:e}, dword ptr [{p} + 40]",
            "or {v:e}, dword ptr [{p} + 48]",
            "or {v:e}, dword ptr [{p} + 56]",
            "or {v:e}, dword ptr [{p} + 64]",
            "or {v:e}, dword ptr [{p} + 72]",
            "or {v:e}, dword ptr [{p} + 80]",
            "or {v:e}, dword ptr [{p} + 88]",
            "or {v:e}, dword ptr [{p} + 96]",
            "or {v:e}, dword ptr [{p} + 104]",
            "or {v:e}, dword ptr [{p} + 112]",
            "or {v:e}, dword ptr [{p} + 120]",
            p = in(reg) group.as_ptr(),
            v = out(reg) low,
            options(readonly, nostack),
        );
    }
    low & 1 == 0
}
