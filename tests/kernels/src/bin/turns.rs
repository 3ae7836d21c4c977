//! Two vcpus that are never idle and set no timer. QEMU, where it counts instructions, gives the second CPU nothing as
//! long as the first is neither interrupted nor idle: so this shows whether the hypervisor looks at a busy CPU now and
//! then whatever its guest does.
#![no_std]
#![no_main]
use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering};
use guest_rt::{check, hypercall, vcpu};
use xen_abi::VCPUOP_is_up;

guest_rt::kernel!(main);

/// A fifth of a second of counted instructions at least.
const STEPS: u64 = 100_000_000;

static COUNTED: AtomicU64 = AtomicU64::new(0);

/// Counts, without a pause.
fn count(_: usize) {
    loop {
        COUNTED.fetch_add(1, Ordering::Relaxed);
    }
}

fn main() {
    let answer = vcpu::start(1, count);
    check!("turns/start-vcpu", answer == 0, "{answer}");
    let up = hypercall::vcpu_op(VCPUOP_is_up, 1, &mut ());
    check!("turns/up", up == 1, "{up}");
    for step in 0..STEPS {
        black_box(step);
    }
    let counted = COUNTED.load(Ordering::Relaxed);
    check!(
        "turns/other-cpu",
        counted > STEPS / 1000,
        "{counted} steps beside {STEPS}"
    );
}
