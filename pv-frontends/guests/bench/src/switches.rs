//! Switches between processes.
use crate::measure::{bench, of_loop};
use crate::traps::user_code;
use guest_rt::pages::{self, PTE_READ_ONLY, protect, take_page};
use guest_rt::user::UserSpace;
use guest_rt::{check, hypercall, vcpu};
use xen_abi::*;

const ROUNDS: u64 = 100;

/// A second kernel L4 table like the boot one, pinned.
fn second_root() -> u64 {
    let root = take_page();
    for index in (0..256).chain(272..512) {
        root.write(index, pages::read_entry(pages::boot_root(), index as u64));
    }
    let made_read_only = protect(root, PTE_READ_ONLY);
    let pinned = pages::extended(MMUEXT_PIN_L4_TABLE, root.mfn(), 0);
    check!(
        "switches/second-root",
        made_read_only == 0 && pinned == 0,
        "{made_read_only} {pinned}"
    );
    root.mfn()
}

/// A switch as a kernel makes it: one multicall with the new stack and both page tables.
fn switch(root: u64, user: u64) -> i64 {
    let operation = |cmd, arg1| mmuext_op {
        cmd,
        _pad: 0,
        arg1,
        arg2: 0,
    };
    let operations = [
        operation(MMUEXT_NEW_BASEPTR, root),
        operation(MMUEXT_NEW_USER_BASEPTR, user),
    ];
    let stack = vcpu::trap_stack_top(vcpu::number());
    let mut calls = [multicall_entry::default(); 2];
    calls[0].op = __HYPERVISOR_stack_switch;
    calls[0].args = [FLAT_KERNEL_SS.into(), stack, 0, 0, 0, 0];
    calls[1].op = __HYPERVISOR_mmuext_op;
    calls[1].args = [operations.as_ptr() as u64, 2, 0, DOMID_SELF.into(), 0, 0];
    // SAFETY: both roots map the image alike; the hypervisor writes only the results into `calls`.
    let answer = unsafe { hypercall::hypercall(__HYPERVISOR_multicall, [calls.as_mut_ptr() as u64, 2, 0, 0, 0, 0]) };
    // SAFETY: the results were written behind the compiler's back.
    answer | unsafe { core::ptr::read_volatile(&raw const calls[1].result) } as i64
}

/// Measures a process switch.
pub fn run() {
    let spaces = [(); 2].map(|()| UserSpace::new(user_code()).expect("user space"));
    let (root, other) = (pages::boot_root(), second_root());
    let mut failures = 0;
    let ticks = of_loop(2 * ROUNDS, || {
        for _ in 0..ROUNDS {
            failures |= switch(other, spaces[1].root) | switch(root, spaces[0].root);
        }
    });
    bench("process_switch", ticks);
    check!("switches/done", failures == 0, "an operation failed: {failures}");
}
