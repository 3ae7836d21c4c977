//! What the machine says of itself.
use crate::control::{BAD, at, is, sysctl};
use guest_rt::check;
use guest_rt::pages::take_page;
use xen_abi::*;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `struct xen_sysctl_get_pmstat`, its union as words.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct PowerStates {
    kind: u32,
    cpu: u32,
    u: [u64; 8],
}

/// `struct xen_sysctl_pm_op` with an arm of one word.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct PowerOp {
    cmd: u32,
    cpu: u32,
    value: u32,
    rest: u32,
}

/// Stock Xen counts only where it was built for it.
fn counters() {
    let ask = |cmd: u32, desc: u64, val: u64| {
        let ask = xen_sysctl_perfc_op {
            cmd,
            desc,
            val,
            ..Default::default()
        };
        let (answer, request) = sysctl(XEN_SYSCTL_perfc_op, |r| r.set_payload(&ask));
        (answer, request.payload::<xen_sysctl_perfc_op>())
    };
    let (answer, counts) = ask(XEN_SYSCTL_PERFCOP_query, 0, 0);
    if is(answer, Errno::ENOSYS) || is(answer, Errno::EOPNOTSUPP) {
        return check!("perfc_op/not-built", true, "{answer}");
    }
    let holds = (2..40).contains(&counts.nr_counters) && counts.nr_vals >= counts.nr_counters;
    check!("perfc_op/counts", answer == 0 && holds, "{answer} {counts:?}");
    let (names, values) = (take_page(), take_page());
    let (answer, _) = ask(XEN_SYSCTL_PERFCOP_query, names.address(), values.address());
    let letters = names.read(0) & 0xff;
    let total = (0..16).map(|word| values.read(word)).fold(0, u64::wrapping_add);
    check!(
        "perfc_op/values",
        answer == 0 && letters != 0 && total != 0,
        "{answer} {letters:#x} {total}"
    );
    let (answer, _) = ask(XEN_SYSCTL_PERFCOP_reset, 0, 0);
    check!("perfc_op/reset", answer == 0, "{answer}");
    let (answer, _) = ask(9, 0, 0);
    check!("perfc_op/unknown", is(answer, Errno::EINVAL), "{answer}");
}

fn heap() {
    let ask = |min_bitwidth: u32, max_bitwidth: u32, node: i32| {
        let ask = xen_sysctl_availheap {
            min_bitwidth,
            max_bitwidth,
            node,
            ..Default::default()
        };
        let (answer, request) = sysctl(XEN_SYSCTL_availheap, |r| r.set_payload(&ask));
        (answer, request.payload::<xen_sysctl_availheap>().avail_bytes)
    };
    let (_, request) = sysctl(XEN_SYSCTL_physinfo, |_| ());
    let free = request.payload::<xen_sysctl_physinfo>().free_pages << 12;
    let (answer, all) = ask(0, 0, -1);
    // Some is free at other ends of the hypervisor, or has just become so.
    check!(
        "availheap/all",
        answer == 0 && all.abs_diff(free) < 1 << 22,
        "{answer} {all:#x} {free:#x}"
    );
    let (answer, node) = ask(0, 0, 0);
    check!(
        "availheap/node",
        answer == 0 && node.abs_diff(all) < 1 << 22,
        "{answer} {node:#x}"
    );
    let (low, high) = (ask(0, 29, -1), ask(29, 0, -1));
    // Zones of stock Xen's: the one at the border is in both. Without zones all of it is.
    check!(
        "availheap/widths",
        (low.0, high.0) == (0, 0) && low.1 <= all && high.1 <= all && low.1 + high.1 >= all - (1 << 22),
        "{low:x?} {high:x?} {all:#x}"
    );
    let (answer, bytes) = ask(0, 0, 50);
    check!("availheap/no-node", answer == 0 && bytes == 0, "{answer} {bytes:#x}");
}

fn power_states() {
    let ask = |kind: u32, cpu: u32| {
        let ask = PowerStates { kind, cpu, u: [0; 8] };
        let (answer, request) = sysctl(XEN_SYSCTL_get_pmstat, |r| r.set_payload(&ask));
        (answer, request.payload::<PowerStates>().u[0] as u32)
    };
    let (answer, states) = ask(PMSTAT_get_max_cx, 0);
    check!(
        "get_pmstat/states",
        answer == 0 && (1..8).contains(&states),
        "{answer} {states}"
    );
    let (answer, states) = ask(PMSTAT_get_cxstat, 0);
    check!(
        "get_pmstat/idle",
        answer == 0 && (1..8).contains(&states),
        "{answer} {states}"
    );
    let (answer, _) = ask(PMSTAT_reset_cxstat, 0);
    check!("get_pmstat/reset", answer == 0, "{answer}");
    let (answer, _) = ask(PMSTAT_get_max_cx, 77);
    check!("get_pmstat/no-cpu", is(answer, Errno::EINVAL), "{answer}");
    let (answer, _) = ask(0x11, 0);
    check!("get_pmstat/frequencies", is(answer, Errno::ENODEV), "{answer}");
}

fn power_settings() {
    let ask = |cmd: u32, cpu: u32, value: u32| {
        let ask = PowerOp {
            cmd,
            cpu,
            value,
            rest: 0,
        };
        let (answer, request) = sysctl(XEN_SYSCTL_pm_op, |r| r.set_payload(&ask));
        (answer, request.payload::<PowerOp>().value)
    };
    let smt = |value: u32| ask(XEN_SYSCTL_pm_op_set_sched_opt_smt, 0, value);
    let (before, second, third) = (smt(1), smt(0), smt(before_value(smt(0))));
    check!(
        "pm_op/kept",
        before.0 == 0 && second == (0, 1) && third == (0, 0),
        "{before:?} {second:?} {third:?}"
    );
    let (answer, deepest) = ask(XEN_SYSCTL_pm_op_get_max_cstate, 0, 0);
    check!("pm_op/deepest", answer == 0 && deepest > 0, "{answer} {deepest}");
    let (answer, _) = ask(XEN_SYSCTL_pm_op_enable_turbo, 0, 0);
    check!("pm_op/turbo", is(answer, Errno::EACCES), "{answer}");
    let (answer, _) = ask(XEN_SYSCTL_pm_op_set_sched_opt_smt, 77, 0);
    check!("pm_op/no-cpu", is(answer, Errno::EINVAL), "{answer}");
    let (answer, _) = ask(CPUFREQ_PARA | 1, 0, 0);
    check!(
        "pm_op/frequency",
        is(answer, Errno::ENODEV) || is(answer, Errno::EINVAL),
        "{answer}"
    );
    let (answer, _) = ask(0x2f, 0, 0);
    check!("pm_op/unknown", is(answer, Errno::ENOSYS), "{answer}");
}

fn before_value((_, value): (i64, u32)) -> u32 {
    value
}

fn levelling() {
    let (answer, request) = sysctl(XEN_SYSCTL_get_cpu_levelling_caps, |r| r.u = [u64::MAX; 16]);
    let caps = request.payload::<xen_sysctl_cpu_levelling_caps>().caps;
    // Nine kinds of masks are known.
    check!(
        "get_cpu_levelling_caps/known",
        answer == 0 && caps < 1 << 9,
        "{answer} {caps:#x}"
    );
    let mut old = xen_sysctl {
        cmd: XEN_SYSCTL_get_cpu_levelling_caps,
        interface_version: XEN_SYSCTL_INTERFACE_VERSION - 1,
        ..Default::default()
    };
    let answer = crate::control::call(__HYPERVISOR_sysctl, [at(&mut old), 0, 0, 0, 0, 0]);
    check!("get_cpu_levelling_caps/version", is(answer, Errno::EACCES), "{answer}");
}

/// A leaf as the hypervisor writes it: leaf, subleaf, four registers.
const LEAF: usize = 24;

fn policies() {
    let ask = |index: u32, nr_leaves: u32, nr_msrs: u32, leaves: u64, msrs: u64| {
        let ask = xen_sysctl_cpu_policy {
            index,
            nr_leaves,
            nr_msrs,
            leaves,
            msrs,
            ..Default::default()
        };
        let (answer, request) = sysctl(XEN_SYSCTL_get_cpu_policy, |r| r.set_payload(&ask));
        (answer, request.payload::<xen_sysctl_cpu_policy>())
    };
    let (answer, most) = ask(XEN_SYSCTL_cpu_policy_host, 0, 0, 0, 0);
    let room = most.nr_leaves as usize;
    let holds = (10..=170).contains(&room) && (1..64).contains(&most.nr_msrs);
    check!("get_cpu_policy/sizes", answer == 0 && holds, "{answer} {most:?}");
    let (list, msrs) = (take_page(), take_page());
    for (name, index) in [
        ("raw", XEN_SYSCTL_cpu_policy_raw),
        ("host", XEN_SYSCTL_cpu_policy_host),
        ("guests", XEN_SYSCTL_cpu_policy_pv_max),
    ] {
        let (answer, given) = ask(index, most.nr_leaves, most.nr_msrs, list.address(), msrs.address());
        // The first leaf: its number is 0, and it names the vendor.
        let vendor = list.read(2);
        let own = own_vendor();
        check!(
            format_args!("get_cpu_policy/{name}"),
            answer == 0
                && (2..=room).contains(&(given.nr_leaves as usize))
                && list.read(0) as u32 == 0
                && vendor == own,
            "{answer} {} leaves, {vendor:#x} {own:#x}",
            given.nr_leaves
        );
    }
    let (answer, _) = ask(
        XEN_SYSCTL_cpu_policy_host,
        1,
        most.nr_msrs,
        list.address(),
        msrs.address(),
    );
    check!("get_cpu_policy/short", is(answer, Errno::ENOBUFS), "{answer}");
    let (answer, _) = ask(9, 0, 0, 0, 0);
    check!("get_cpu_policy/index", is(answer, Errno::EINVAL), "{answer}");
    let (answer, _) = ask(XEN_SYSCTL_cpu_policy_host, most.nr_leaves, most.nr_msrs, BAD, BAD);
    check!("get_cpu_policy/pointer", is(answer, Errno::EFAULT), "{answer}");
    assert!(room * LEAF <= 4096, "a page is too small");
}

/// The vendor as CPUID tells this domain, second and third part, as they stand in a leaf.
fn own_vendor() -> u64 {
    let leaf = core::arch::x86_64::__cpuid(0);
    u64::from(leaf.edx) << 32 | u64::from(leaf.ecx)
}

pub fn run() {
    counters();
    heap();
    power_states();
    power_settings();
    levelling();
    policies();
}
