//! A vcpu's timer, its NMI, the CPU below it.
use crate::control::{BAD, MILLISECOND, at, call, domctl, is, operate, pass, platform, timer_port};
use core::sync::atomic::{AtomicU32, Ordering};
use guest_rt::events::fired;
use guest_rt::trap::{self, TrapFrame};
use guest_rt::{check, clock, hypercall};
use xen_abi::*;

static NMIS: AtomicU32 = AtomicU32::new(0);

fn periodic() {
    let port = timer_port();
    let set =
        |period_ns: u64| hypercall::vcpu_op(VCPUOP_set_periodic_timer, 0, &mut vcpu_set_periodic_timer { period_ns });
    let (before, start) = (fired(port), clock::system_time());
    let answer = set(10 * MILLISECOND);
    pass(100 * MILLISECOND);
    let count = fired(port) - before;
    let most = (clock::system_time() - start) / (10 * MILLISECOND) + 1;
    check!(
        "set_periodic_timer/several",
        answer == 0 && count >= 3 && u64::from(count) <= most,
        "{answer}, {count} events of {most}"
    );
    hypercall::vcpu_op(VCPUOP_stop_periodic_timer, 0, &mut ());
    let before = fired(port);
    pass(40 * MILLISECOND);
    let count = fired(port) - before;
    check!("set_periodic_timer/stopped", count <= 1, "{count} events");
    for (name, period) in [("short", MILLISECOND - 1), ("long", u64::MAX)] {
        let answer = set(period);
        check!(
            format_args!("set_periodic_timer/{name}"),
            is(answer, Errno::EINVAL),
            "{answer}"
        );
    }
    let answer = hypercall::vcpu_op(VCPUOP_set_periodic_timer, 77, &mut vcpu_set_periodic_timer::default());
    check!("set_periodic_timer/no-vcpu", is(answer, Errno::ENOENT), "{answer}");
}

fn count_nmi(frame: &mut TrapFrame) -> bool {
    if frame.vector == 2 {
        NMIS.fetch_add(1, Ordering::Relaxed);
    }
    frame.vector == 2
}

fn send_nmi(vcpu: u32) -> (i64, u32) {
    let before = NMIS.load(Ordering::Relaxed);
    let answer = call(__HYPERVISOR_vcpu_op, [VCPUOP_send_nmi.into(), vcpu.into(), 0, 0, 0, 0]);
    for _ in 0..3 {
        hypercall::version();
    }
    (answer, NMIS.load(Ordering::Relaxed) - before)
}

fn nmi() {
    trap::set_hook(count_nmi);
    let mut callback = xennmi_callback {
        handler_address: trap::nmi_entry(),
        ..Default::default()
    };
    let answer = operate(__HYPERVISOR_nmi_op, XENNMI_register_callback, &mut callback);
    check!("nmi_op/register", answer == 0, "{answer}");
    for name in ["first", "again"] {
        let (answer, count) = send_nmi(0);
        check!(
            format_args!("send_nmi/{name}"),
            answer == 0 && count == 1,
            "{answer}, {count} NMIs"
        );
    }
    let (answer, count) = send_nmi(77);
    let args = [VCPUOP_send_nmi.into(), 0, 8, 0, 0, 0];
    let refused = call(__HYPERVISOR_vcpu_op, args);
    check!("send_nmi/argument", is(refused, Errno::EINVAL), "{refused}");
    check!(
        "send_nmi/no-vcpu",
        is(answer, Errno::ENOENT) && count == 0,
        "{answer} {count}"
    );
    callback.handler_address = 0x1234_0000_0000_0000;
    let answer = operate(__HYPERVISOR_nmi_op, XENNMI_register_callback, &mut callback);
    check!("nmi_op/no-address", is(answer, Errno::EINVAL), "{answer}");
    let args = [XENNMI_register_callback.into(), BAD, 0, 0, 0, 0];
    let answer = call(__HYPERVISOR_nmi_op, args);
    check!("nmi_op/pointer", is(answer, Errno::EFAULT), "{answer}");
    let answer = operate(__HYPERVISOR_nmi_op, 9, &mut callback);
    check!("nmi_op/unknown", is(answer, Errno::ENOSYS), "{answer}");
    let (answer, count) = send_nmi(0);
    check!("nmi_op/stays", answer == 0 && count == 1, "{answer} {count}");
    let answer = operate(__HYPERVISOR_nmi_op, XENNMI_unregister_callback, &mut callback);
    check!("nmi_op/unregister", answer == 0, "{answer}");
    // A trap table has a gate for it, and a vcpu without a callback takes it there.
    trap::install_table();
    trap::clear_hook();
}

/// Sets the CPUs on which this vcpu may run.
fn bind_to(mask: u64) -> i64 {
    let mut words = [mask, mask];
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
    domctl(XEN_DOMCTL_setvcpuaffinity, 0, |r| r.set_payload(&ask)).0
}

fn physical() {
    let ask = |vcpu: u32| {
        let mut id = vcpu_get_physid::default();
        (hypercall::vcpu_op(VCPUOP_get_physid, vcpu, &mut id), id.phys_id)
    };
    let bound = bind_to(1);
    let (answer, id) = ask(0);
    let (told, request) = platform(XENPF_get_cpuinfo, |_| ());
    let cpu: xenpf_pcpuinfo = request.payload();
    let wanted = u64::from(cpu.acpi_id) << 32 | u64::from(cpu.apic_id);
    check!(
        "get_physid/same",
        (bound, answer, told) == (0, 0, 0) && id == wanted,
        "{bound} {answer} {told}: {id:#x} {wanted:#x}"
    );
    let (answer, _) = ask(77);
    check!("get_physid/no-vcpu", is(answer, Errno::ENOENT), "{answer}");
    let loose = bind_to(u64::MAX);
    check!("get_physid/loose", loose == 0, "{loose}");
}

pub fn run() {
    periodic();
    nmi();
    physical();
}
