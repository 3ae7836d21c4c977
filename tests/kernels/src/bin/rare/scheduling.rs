//! The end of a domain, said before; watchdogs; a vcpu held on a CPU.
use crate::control::{BAD, MILLISECOND, at, call, domain_info, domctl, is, pass};
use guest_rt::{check, hypercall};
use xen_abi::*;

/// Stock Xen's errno has 32 bits here.
fn watchdog(id: u32, timeout: u32) -> i64 {
    let answer = hypercall::sched_op(SCHEDOP_watchdog, &mut sched_watchdog { id, timeout });
    i64::from(answer as i32)
}

fn watchdogs() {
    let (first, second, third) = (watchdog(0, 2), watchdog(0, 600), watchdog(0, 600));
    check!(
        "watchdog/slots",
        (first, second) == (1, 2) && is(third, Errno::ENOSPC),
        "{first} {second} {third}"
    );
    let answers = (watchdog(2, 500), watchdog(1, 0), watchdog(2, 0));
    check!("watchdog/clear", answers == (0, 0, 0), "{answers:?}");
    // One that was not cleared would end this domain now.
    pass(2300 * MILLISECOND);
    let again = watchdog(0, 600);
    check!("watchdog/again", again == 1, "{again}");
    watchdog(1, 0);
    // (A new one without time is not tried: stock Xen lets it ring at once.)
    for (name, id) in [("cleared", 1), ("no-slot", 7)] {
        let answer = watchdog(id, 5);
        check!(format_args!("watchdog/{name}"), is(answer, Errno::EINVAL), "{answer}");
    }
}

/// The CPUs on which this vcpu may run.
fn affinity() -> (i64, u64) {
    let mut words = [0; 2];
    let map = |address: u64| xenctl_bitmap {
        bitmap: address,
        nr_bits: 64,
        _pad: 0,
    };
    let [hard, soft] = words.each_mut().map(|word| map(at(word)));
    let ask = xen_domctl_vcpuaffinity {
        vcpu: 0,
        flags: XEN_VCPUAFFINITY_HARD,
        cpumap_hard: hard,
        cpumap_soft: soft,
    };
    let answer = domctl(XEN_DOMCTL_getvcpuaffinity, 0, |r| r.set_payload(&ask)).0;
    (answer, words[0])
}

fn pins() {
    let pin = |pcpu: i32| hypercall::sched_op(SCHEDOP_pin_override, &mut sched_pin_override { pcpu });
    let (_, free) = affinity();
    let answer = pin(0);
    let (_, held) = affinity();
    check!(
        "pin_override/held",
        answer == 0 && held & 1 == 1,
        "{answer} {free:#x} {held:#x}"
    );
    let answer = pin(0);
    check!("pin_override/twice", is(answer, Errno::EBUSY), "{answer}");
    let answer = pin(-1);
    let (_, back) = affinity();
    check!("pin_override/back", answer == 0 && back == free, "{answer} {back:#x}");
    let answer = pin(9999);
    check!("pin_override/no-cpu", is(answer, Errno::EINVAL), "{answer}");
    let answer = pin(33);
    check!("pin_override/offline", is(answer, Errno::EINVAL), "{answer}");
    let answer = pin(-1);
    check!("pin_override/not-held", is(answer, Errno::EINVAL), "{answer}");
}

fn code() -> u32 {
    let flags = domain_info(0).map_or(0, |info| info.flags);
    flags >> XEN_DOMINF_shutdownshift & XEN_DOMINF_shutdownmask
}

/// The reason of this domain's end is said before; the end itself, as this image comes to it, is the same.
fn reason() {
    let before = code();
    let mut ask = sched_shutdown {
        reason: SHUTDOWN_poweroff,
    };
    let answer = hypercall::sched_op(SCHEDOP_shutdown_code, &mut ask);
    let now = code();
    check!(
        "shutdown_code/seen",
        answer == 0 && before == XEN_DOMINF_shutdownmask && now == SHUTDOWN_poweroff,
        "{answer} {before} {now}"
    );
    let flags = domain_info(0).map_or(0, |info| info.flags);
    check!("shutdown_code/lives", flags & XEN_DOMINF_shutdown == 0, "{flags:#x}");
    ask.reason = SHUTDOWN_reboot;
    let answer = hypercall::sched_op(SCHEDOP_shutdown_code, &mut ask);
    check!(
        "shutdown_code/twice",
        answer == 0 && code() == SHUTDOWN_poweroff,
        "{answer} {}",
        code()
    );
    let args = [SCHEDOP_shutdown_code.into(), BAD, 0, 0, 0, 0];
    let answer = call(__HYPERVISOR_sched_op, args);
    check!("shutdown_code/pointer", is(answer, Errno::EFAULT), "{answer}");
}

pub fn run() {
    watchdogs();
    pins();
    reason();
}
