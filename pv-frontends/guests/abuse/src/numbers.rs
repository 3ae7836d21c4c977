//! Operations, domains, vcpus, ports and the like that do not exist. Where Linux or Xen's tools act on the errno, it
//! is asserted; elsewhere any errno will do.
use crate::{call, is, refused};
use guest_rt::{check, hypercall};
use xen_abi::*;

/// A number that no domain has.
const NOBODY: domid_t = 99;

fn expect(name: &str, answer: i64, errno: Errno) {
    check!(
        format_args!("numbers/{name}"),
        is(answer, errno),
        "{answer}, wanted -{}",
        errno.name()
    );
}

fn expect_refusal(name: &str, answer: i64) {
    check!(format_args!("numbers/{name}"), refused(answer), "{answer}");
}

/// A call of `(operation, &argument, 1)`.
fn with<T>(number: u64, operation: u32, mut argument: T) -> i64 {
    call(
        number,
        [operation.into(), core::ptr::from_mut(&mut argument) as u64, 1, 0, 0, 0],
    )
}

fn unknown_hypercalls() {
    let numbers = (11..12)
        .chain(43..48)
        .chain(56..70)
        .chain([1000, u32::MAX.into(), 1 << 32, u64::MAX]);
    for number in numbers {
        let answer = call(number, [0; 6]);
        if !is(answer, Errno::ENOSYS) {
            check!("numbers/unknown-hypercall", false, "{number} answers {answer}");
        }
    }
    check!("numbers/unknown-hypercalls", true, "");
}

fn unknown_operations() {
    for (name, number) in [
        ("version", __HYPERVISOR_xen_version),
        ("console", __HYPERVISOR_console_io),
        ("sched", __HYPERVISOR_sched_op),
        ("evtchn", __HYPERVISOR_event_channel_op),
        ("physdev", __HYPERVISOR_physdev_op),
        ("grant", __HYPERVISOR_grant_table_op),
        ("memory", __HYPERVISOR_memory_op),
        ("callback", __HYPERVISOR_callback_op),
        ("nmi", __HYPERVISOR_nmi_op),
    ] {
        // Memory operations are six bits wide, 63 is the last; reading no grants at all is fine.
        let answer = call(number, [63, 0x1000, 0, 0, 0, 0]);
        expect(name, answer, Errno::ENOSYS);
    }
    expect(
        "vcpu-operation",
        call(__HYPERVISOR_vcpu_op, [63, 0, 0, 0, 0, 0]),
        Errno::ENOSYS,
    );
    expect_refusal("vm-assist-command", call(__HYPERVISOR_vm_assist, [9, 0, 0, 0, 0, 0]));
    expect_refusal(
        "vm-assist-type",
        call(__HYPERVISOR_vm_assist, [VMASST_CMD_enable.into(), 63, 0, 0, 0, 0]),
    );
    expect_refusal("segment-base", call(__HYPERVISOR_set_segment_base, [9, 0, 0, 0, 0, 0]));
    let unknown = xen_platform_op {
        cmd: 9,
        interface_version: XENPF_INTERFACE_VERSION,
        ..Default::default()
    };
    expect("platform", with_first(__HYPERVISOR_platform_op, unknown), Errno::ENOSYS);
    let old = xen_platform_op {
        cmd: XENPF_get_cpuinfo,
        interface_version: 1,
        ..Default::default()
    };
    expect(
        "platform-version",
        with_first(__HYPERVISOR_platform_op, old),
        Errno::EACCES,
    );
    let old = xen_sysctl {
        cmd: XEN_SYSCTL_physinfo,
        interface_version: 1,
        ..Default::default()
    };
    expect("sysctl-version", with_first(__HYPERVISOR_sysctl, old), Errno::EACCES);
    let old = xen_domctl {
        cmd: XEN_DOMCTL_getdomaininfo,
        interface_version: 1,
        ..Default::default()
    };
    expect("domctl-version", with_first(__HYPERVISOR_domctl, old), Errno::EACCES);
}

/// A call of `(&argument)`.
fn with_first<T>(number: u64, mut argument: T) -> i64 {
    call(number, [core::ptr::from_mut(&mut argument) as u64, 0, 0, 0, 0, 0])
}

fn vcpus() {
    for operation in 0..14 {
        let answer = call(__HYPERVISOR_vcpu_op, [operation, 99, 0x1000, 0, 0, 0]);
        check!(
            format_args!("numbers/no-such-vcpu/{operation}"),
            is(answer, Errno::ENOENT),
            "{answer}"
        );
    }
    expect_refusal(
        "vcpu-huge",
        call(__HYPERVISOR_vcpu_op, [VCPUOP_is_up.into(), u64::MAX, 0, 0, 0, 0]),
    );
    // Alignment and bounds of a page for vcpu_info.
    for (name, offset) in [
        ("vcpu-info-unaligned", 4),
        ("vcpu-info-beyond", 4096 - 8),
        ("vcpu-info-far", 1 << 20),
    ] {
        let area = vcpu_register_vcpu_info {
            mfn: guest_rt::pages::boot_root(),
            offset,
            rsvd: 0,
        };
        let mut area = area;
        let answer = hypercall::vcpu_op(VCPUOP_register_vcpu_info, 0, &mut area);
        expect_refusal(name, answer);
    }
    let mut context = [0u64; 8];
    expect_refusal(
        "initialise-running-vcpu",
        hypercall::vcpu_op(VCPUOP_initialise, 0, &mut context),
    );
    let mut period = vcpu_set_periodic_timer { period_ns: 1 };
    expect_refusal(
        "period-too-short",
        hypercall::vcpu_op(VCPUOP_set_periodic_timer, 0, &mut period),
    );
}

fn event<T>(operation: u32, argument: T) -> i64 {
    with(__HYPERVISOR_event_channel_op, operation, argument)
}

fn events() {
    for (name, port) in [
        ("0", 0),
        ("free", 77),
        ("beyond", 4096),
        ("far", 1 << 17),
        ("huge", u32::MAX),
    ] {
        let answers = [
            event(EVTCHNOP_send, evtchn_send { port }),
            event(EVTCHNOP_close, evtchn_close { port }),
            event(EVTCHNOP_bind_vcpu, evtchn_bind_vcpu { port, vcpu: 0 }),
            event(EVTCHNOP_set_priority, evtchn_set_priority { port, priority: 16 }),
        ];
        check!(
            format_args!("numbers/port-{name}"),
            answers.iter().all(|&answer| refused(answer)),
            "{answers:?}"
        );
    }
    expect_refusal("unmask-huge", event(EVTCHNOP_unmask, evtchn_unmask { port: u32::MAX }));
    let dom = DOMID_SELF;
    expect_refusal(
        "status-huge",
        event(
            EVTCHNOP_status,
            evtchn_status {
                dom,
                port: u32::MAX,
                ..Default::default()
            },
        ),
    );
    expect(
        "status-domain",
        event(
            EVTCHNOP_status,
            evtchn_status {
                dom: NOBODY,
                ..Default::default()
            },
        ),
        Errno::ESRCH,
    );
    expect(
        "ipi-vcpu",
        event(EVTCHNOP_bind_ipi, evtchn_bind_ipi { vcpu: 99, port: 0 }),
        Errno::ENOENT,
    );
    let virq = |virq, vcpu| event(EVTCHNOP_bind_virq, evtchn_bind_virq { virq, vcpu, port: 0 });
    expect("virq", virq(NR_VIRQS, 0), Errno::EINVAL);
    expect("virq-huge", virq(u32::MAX, 0), Errno::EINVAL);
    expect("virq-vcpu", virq(VIRQ_TIMER, 99), Errno::ENOENT);
    let first = virq(VIRQ_DEBUG, 0);
    let again = virq(VIRQ_DEBUG, 0);
    check!(
        "numbers/virq-twice",
        first == 0 && is(again, Errno::EEXIST),
        "{first} {again}"
    );
    let pirq = |pirq| {
        event(
            EVTCHNOP_bind_pirq,
            evtchn_bind_pirq {
                pirq,
                flags: 0,
                port: 0,
            },
        )
    };
    expect("pirq-huge", pirq(u32::MAX), Errno::EINVAL);
    expect_refusal("pirq-not-mapped", pirq(200));
    let alloc = evtchn_alloc_unbound {
        dom: NOBODY,
        remote_dom: 0,
        port: 0,
    };
    expect(
        "alloc-unbound-domain",
        event(EVTCHNOP_alloc_unbound, alloc),
        Errno::ESRCH,
    );
    let bind = |remote_dom, remote_port| evtchn_bind_interdomain {
        remote_dom,
        remote_port,
        ..Default::default()
    };
    expect(
        "interdomain-domain",
        event(EVTCHNOP_bind_interdomain, bind(NOBODY, 1)),
        Errno::ESRCH,
    );
    expect(
        "interdomain-port",
        event(EVTCHNOP_bind_interdomain, bind(DOMID_SELF, u32::MAX)),
        Errno::EINVAL,
    );
    let control = |control_gfn, offset, vcpu| evtchn_init_control {
        control_gfn,
        offset,
        vcpu,
        ..Default::default()
    };
    expect(
        "fifo-vcpu",
        event(EVTCHNOP_init_control, control(0, 0, 99)),
        Errno::ENOENT,
    );
    expect_refusal("fifo-offset", event(EVTCHNOP_init_control, control(0, 4096 - 8, 0)));
    expect_refusal("fifo-unaligned", event(EVTCHNOP_init_control, control(0, 3, 0)));
    expect_refusal(
        "fifo-frame",
        event(EVTCHNOP_init_control, control(u64::MAX >> 12, 0, 0)),
    );
    expect_refusal(
        "fifo-array-early",
        event(EVTCHNOP_expand_array, evtchn_expand_array { array_gfn: u64::MAX }),
    );
}

fn scheduling() {
    let poll = |nr_ports, ports| sched_poll {
        ports,
        nr_ports,
        _pad: 0,
        timeout: 1,
    };
    let sched = |operation, argument| with(__HYPERVISOR_sched_op, operation, argument);
    expect("poll-many", sched(SCHEDOP_poll, poll(129, 0x1000)), Errno::EINVAL);
    expect("poll-bad-ports", sched(SCHEDOP_poll, poll(1, 0x1000)), Errno::EFAULT);
    let port = u32::MAX;
    expect(
        "poll-huge-port",
        sched(SCHEDOP_poll, poll(1, core::ptr::from_ref(&port) as u64)),
        Errno::EINVAL,
    );
    let shutdown = sched_remote_shutdown {
        domain_id: NOBODY,
        _pad: 0,
        reason: 0,
    };
    expect(
        "remote-shutdown",
        with(__HYPERVISOR_sched_op, SCHEDOP_remote_shutdown, shutdown),
        Errno::ESRCH,
    );
    let watchdog = |id, timeout| with(__HYPERVISOR_sched_op, SCHEDOP_watchdog, sched_watchdog { id, timeout });
    expect_refusal("watchdog-id", watchdog(99, 1));
    expect_refusal("watchdog-idle", watchdog(1, 0));
}

fn grants() {
    let mut map = gnttab_map_grant_ref {
        flags: GNTMAP_host_map,
        dom: NOBODY,
        ..Default::default()
    };
    map.host_addr = 0x1000;
    let (answer, status) = grant_status(GNTTABOP_map_grant_ref, map, |map| map.status);
    check!(
        "numbers/grant-map-domain",
        answer == 0 && status == GNTST_bad_domain,
        "{answer} {status}"
    );
    map.dom = DOMID_SELF;
    map.grant_ref = u32::MAX;
    let (answer, status) = grant_status(GNTTABOP_map_grant_ref, map, |map| map.status);
    check!("numbers/grant-map-ref", answer == 0 && status < 0, "{answer} {status}");
    let unmap = gnttab_unmap_grant_ref {
        handle: u32::MAX,
        host_addr: 0x1000,
        ..Default::default()
    };
    let (answer, status) = grant_status(GNTTABOP_unmap_grant_ref, unmap, |unmap| unmap.status);
    check!(
        "numbers/grant-unmap",
        answer == 0 && status == GNTST_bad_handle,
        "{answer} {status}"
    );
    let setup = gnttab_setup_table {
        dom: DOMID_SELF,
        nr_frames: u32::MAX,
        frame_list: 0x1000,
        ..Default::default()
    };
    let (answer, status) = grant_status(GNTTABOP_setup_table, setup, |setup| setup.status);
    check!(
        "numbers/grant-setup-many",
        refused(answer) || status < 0,
        "{answer} {status}"
    );
    let query = gnttab_query_size {
        dom: NOBODY,
        ..Default::default()
    };
    let (answer, status) = grant_status(GNTTABOP_query_size, query, |query| query.status);
    check!(
        "numbers/grant-query-domain",
        answer == 0 && status == GNTST_bad_domain,
        "{answer} {status}"
    );
    let mut copy = gnttab_copy {
        flags: GNTCOPY_source_gref,
        len: 4096,
        ..Default::default()
    };
    copy.source.domid = DOMID_SELF;
    copy.dest.domid = DOMID_SELF;
    copy.source.u = u32::MAX.into();
    copy.dest.offset = 4095;
    let (answer, status) = grant_status(GNTTABOP_copy, copy, |copy| copy.status);
    check!("numbers/grant-copy", answer == 0 && status < 0, "{answer} {status}");
    expect_refusal(
        "grant-version",
        with(
            __HYPERVISOR_grant_table_op,
            GNTTABOP_set_version,
            gnttab_set_version { version: 3 },
        ),
    );
}

/// A grant operation's answer and the status it left.
fn grant_status<T: Copy>(operation: u32, mut argument: T, status: fn(&T) -> i16) -> (i64, i16) {
    let pointer = &raw mut argument;
    let answer = call(
        __HYPERVISOR_grant_table_op,
        [operation.into(), pointer as u64, 1, 0, 0, 0],
    );
    // SAFETY: the value is alive; volatile, since the compiler did not see the hypervisor write.
    let after = unsafe { pointer.read_volatile() };
    (answer, status(&after))
}

fn devices() {
    let physdev = |operation, words: [u32; 12]| with(__HYPERVISOR_physdev_op, operation, words);
    let mut words = [0; 12];
    words[0] = u32::MAX;
    for operation in [PHYSDEVOP_eoi, PHYSDEVOP_irq_status_query, PHYSDEVOP_set_iopl] {
        let answer = physdev(operation, words);
        check!(format_args!("numbers/physdev/{operation}"), refused(answer), "{answer}");
    }
    let map = physdev_map_pirq {
        domid: NOBODY,
        typ: MAP_PIRQ_TYPE_GSI,
        index: 4,
        pirq: 4,
        ..Default::default()
    };
    expect(
        "map-pirq-domain",
        with(__HYPERVISOR_physdev_op, PHYSDEVOP_map_pirq, map),
        Errno::ESRCH,
    );
    let map = physdev_map_pirq {
        domid: DOMID_SELF,
        ..map
    };
    for (name, typ, index, pirq) in [
        ("map-pirq-type", 99, 4, 4),
        ("map-pirq-gsi", MAP_PIRQ_TYPE_GSI, i32::MAX, 4),
        ("map-pirq-negative", MAP_PIRQ_TYPE_GSI, i32::MIN, 4),
        ("map-pirq-number", MAP_PIRQ_TYPE_GSI, 4, i32::MAX),
        ("map-pirq-no-device", MAP_PIRQ_TYPE_MSI_SEG, -1, -1),
    ] {
        let map = physdev_map_pirq {
            typ,
            index,
            pirq,
            bus: 0x77,
            devfn: 0xff,
            ..map
        };
        expect_refusal(name, with(__HYPERVISOR_physdev_op, PHYSDEVOP_map_pirq, map));
    }
    let unmap = physdev_unmap_pirq {
        domid: DOMID_SELF,
        _pad: 0,
        pirq: -1,
    };
    expect_refusal("unmap-pirq", with(__HYPERVISOR_physdev_op, PHYSDEVOP_unmap_pirq, unmap));
    let bitmap = physdev_set_iobitmap {
        bitmap: 0,
        nr_ports: 65537,
        _pad: 0,
    };
    expect(
        "iobitmap",
        with(__HYPERVISOR_physdev_op, PHYSDEVOP_set_iobitmap, bitmap),
        Errno::EINVAL,
    );
}

pub(crate) fn run() {
    unknown_hypercalls();
    unknown_operations();
    vcpus();
    events();
    scheduling();
    grants();
    devices();
}
