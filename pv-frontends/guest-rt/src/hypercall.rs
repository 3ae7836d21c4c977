//! The hypercall instruction and thin wrappers for calls that every kernel makes.
use core::arch::asm;
use xen_abi::*;

/// Makes a hypercall with up to six arguments; the answer is Xen's, a negative errno for a failure.
///
/// # Safety
/// The hypervisor may write wherever the arguments point, and change mappings under the caller's feet: the caller
/// knows what the call does with these arguments.
pub unsafe fn hypercall(number: u64, args: [u64; 6]) -> i64 {
    let result: i64;
    // SAFETY: the registers that the ABI lets the hypervisor clobber are declared; memory effects are the caller's.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            inlateout("rdi") args[0] => _,
            inlateout("rsi") args[1] => _,
            inlateout("rdx") args[2] => _,
            inlateout("r10") args[3] => _,
            inlateout("r8") args[4] => _,
            inlateout("r9") args[5] => _,
            lateout("rcx") _,
            lateout("r11") _,
        )
    };
    result
}

unsafe extern "C" {
    static hypercall_page: u8;
}

/// Where the hypercall page, which the hypervisor fills, has its way in for a hypercall: a function with the registers
/// of [`hypercall`] whose number need not be given. This runtime itself executes `syscall` in place.
pub fn page_entry(number: u64) -> u64 {
    const ENTRY_SIZE: u64 = 32;
    &raw const hypercall_page as u64 + number % 128 * ENTRY_SIZE
}

/// A hypercall whose pointer arguments, if any, point to live values of the caller.
fn sound(number: u64, args: [u64; 6]) -> i64 {
    // SAFETY: private to this module, whose callers pass pointers to exclusively borrowed values of the right type.
    unsafe { hypercall(number, args) }
}

fn address<T>(value: &mut T) -> u64 {
    core::ptr::from_mut(value) as u64
}

/// `xen_version` with a number only.
pub fn version() -> i64 {
    sound(__HYPERVISOR_xen_version, [XENVER_version.into(), 0, 0, 0, 0, 0])
}

/// Writes to the console.
pub fn console_write(bytes: &[u8]) -> i64 {
    let length = bytes.len() as u64;
    sound(
        __HYPERVISOR_console_io,
        [CONSOLEIO_write.into(), length, bytes.as_ptr() as u64, 0, 0, 0],
    )
}

/// Reads what was typed at the hypervisor's console; how many bytes, or a negative errno.
pub fn console_read(into: &mut [u8]) -> i64 {
    let (length, place) = (into.len() as u64, into.as_mut_ptr() as u64);
    sound(__HYPERVISOR_console_io, [CONSOLEIO_read.into(), length, place, 0, 0, 0])
}

/// An operation of `sched_op` with its argument.
pub fn sched_op<T>(op: u32, argument: &mut T) -> i64 {
    sound(__HYPERVISOR_sched_op, [op.into(), address(argument), 0, 0, 0, 0])
}

/// An operation of `event_channel_op` with its argument.
pub fn event_channel_op<T>(op: u32, argument: &mut T) -> i64 {
    sound(
        __HYPERVISOR_event_channel_op,
        [op.into(), address(argument), 0, 0, 0, 0],
    )
}

/// An operation of `vcpu_op` with its argument.
pub fn vcpu_op<T>(op: u32, vcpu: u32, argument: &mut T) -> i64 {
    sound(
        __HYPERVISOR_vcpu_op,
        [op.into(), vcpu.into(), address(argument), 0, 0, 0],
    )
}

/// An operation of `callback_op` with its argument.
pub fn callback_op<T>(op: u32, argument: &mut T) -> i64 {
    sound(__HYPERVISOR_callback_op, [op.into(), address(argument), 0, 0, 0, 0])
}

/// An operation of `physdev_op` with its argument.
pub fn physdev_op<T>(op: u32, argument: &mut T) -> i64 {
    sound(__HYPERVISOR_physdev_op, [op.into(), address(argument), 0, 0, 0, 0])
}

/// An operation of `memory_op` with its argument.
///
/// # Safety
/// Handles in the argument lead to lists as long as it says, and frames that are given up are mapped nowhere.
pub unsafe fn memory_op<T>(op: u32, argument: &mut T) -> i64 {
    sound(__HYPERVISOR_memory_op, [op.into(), address(argument), 0, 0, 0, 0])
}

/// Sets the kernel stack on which traps from user mode arrive.
pub fn stack_switch(sp: u64) -> i64 {
    sound(__HYPERVISOR_stack_switch, [FLAT_KERNEL_SS.into(), sp, 0, 0, 0, 0])
}

/// Installs trap handlers.
///
/// # Safety
/// Each address is the entry of a handler that copes with the frame of its vector.
pub unsafe fn set_trap_table(table: &[trap_info]) -> i64 {
    sound(__HYPERVISOR_set_trap_table, [table.as_ptr() as u64, 0, 0, 0, 0, 0])
}

/// Sets a segment base (`SEGBASE_*`).
///
/// # Safety
/// Code of this vcpu that uses the segment finds there what it expects.
pub unsafe fn set_segment_base(which: u32, base: u64) -> i64 {
    sound(__HYPERVISOR_set_segment_base, [which.into(), base, 0, 0, 0, 0])
}

/// Applies page-table updates.
///
/// # Safety
/// No mapping that Rust code relies on changes.
pub unsafe fn mmu_update(requests: &[mmu_update], done: Option<&mut u32>) -> i64 {
    let done = done.map_or(0, |count| core::ptr::from_mut(count) as u64);
    sound(
        __HYPERVISOR_mmu_update,
        [
            requests.as_ptr() as u64,
            requests.len() as u64,
            done,
            DOMID_SELF.into(),
            0,
            0,
        ],
    )
}

/// Applies page-table updates whose new entries name frames of another domain.
///
/// # Safety
/// No mapping that Rust code relies on changes.
pub unsafe fn mmu_update_of(owner: domid_t, requests: &[mmu_update]) -> i64 {
    let [pointer, count] = [requests.as_ptr() as u64, requests.len() as u64];
    sound(__HYPERVISOR_mmu_update, [pointer, count, 0, owner.into(), 0, 0])
}

/// Applies extended MMU operations.
///
/// # Safety
/// No mapping that Rust code relies on changes.
pub unsafe fn mmuext_op(requests: &[mmuext_op]) -> i64 {
    sound(
        __HYPERVISOR_mmuext_op,
        [
            requests.as_ptr() as u64,
            requests.len() as u64,
            0,
            DOMID_SELF.into(),
            0,
            0,
        ],
    )
}

/// Replaces the L1 entry that maps `va`.
///
/// # Safety
/// Rust code does not rely on the mapping at `va`.
pub unsafe fn update_va_mapping(va: u64, entry: u64, flags: u64) -> i64 {
    sound(__HYPERVISOR_update_va_mapping, [va, entry, flags, 0, 0, 0])
}

/// Ends the domain; `reason` is one of `SHUTDOWN_*`.
pub fn shutdown(reason: u32) -> ! {
    loop {
        sched_op(SCHEDOP_shutdown, &mut sched_shutdown { reason });
    }
}
