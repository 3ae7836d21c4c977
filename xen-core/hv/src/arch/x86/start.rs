//! The assembly of the first steps: from the loader to `boot_main`, and of the other CPUs to theirs.

use super::percpu;
use core::arch::global_asm;

/// Pages of a stack area's main stack, and its first page; the assembly maps them for CPU 0.
const MAIN_STACK: (u64, u64) = percpu::STACK_PAGES[percpu::STACK_PAGES.len() - 1];

global_asm!(
    include_str!("start.s"),
    include_str!("trampoline.s"),
    BOOT_STACK_FIRST_PAGE = const MAIN_STACK.0,
    BOOT_STACK_PAGES = const MAIN_STACK.1,
    BOOT_STACK_TOP = const percpu::stack_top(0),
    options(att_syntax)
);
