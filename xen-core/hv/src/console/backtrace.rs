//! The calls that led here, by frame pointers.

use super::symbols::{Symbol, is_text};
use crate::arch::x86::percpu::{STACK_PAGES, stack_area};
use crate::mm::layout::{NR_CPUS, PAGE_SIZE, STACK_STRIDE, STACKS};
use core::fmt::{self, Write};

/// Most calls shown.
const MAX_DEPTH: usize = 32;

/// Can 16 bytes be read at `addr`? Only the mapped pages of stack areas count.
fn is_stack(addr: u64) -> bool {
    let Some(offset) = addr.checked_sub(STACKS).filter(|o| *o < NR_CPUS as u64 * STACK_STRIDE) else {
        return false;
    };
    let area = stack_area((offset / STACK_STRIDE) as usize);
    let mapped = |(first, count): (u64, u64)| {
        let start = area + first * PAGE_SIZE;
        (start..start + count * PAGE_SIZE - 8).contains(&addr)
    };
    addr.is_multiple_of(8) && STACK_PAGES.into_iter().any(mapped)
}

/// Shows the calls above the frame at `rbp`; `rip` is where that function is.
pub(super) fn write(out: &mut dyn Write, rip: u64, mut rbp: u64) -> fmt::Result {
    writeln!(out, "backtrace:")?;
    writeln!(out, "  {}", Symbol(rip))?;
    for _ in 0..MAX_DEPTH {
        if !is_stack(rbp) {
            break;
        }
        // SAFETY: both words are in a mapped page of a stack area.
        let [next, ret] = unsafe { (rbp as *const [u64; 2]).read_volatile() };
        if !is_text(ret) {
            break;
        }
        writeln!(out, "  {}", Symbol(ret))?;
        rbp = next;
    }
    Ok(())
}
