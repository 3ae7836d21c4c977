//! Hypercalls that have been replaced by others, and one for old guests.
use crate::control::{
    BAD, MILLISECOND, NOBODY, at, call, create_domain, destroy_domain, is, operate, own_port, pass, reservation,
    timer_port, wait_for,
};
use core::arch::global_asm;
use core::sync::atomic::{AtomicU64, Ordering};
use guest_rt::events::{fired, set_mask};
use guest_rt::pages::{self, PTE_DATA, take_page};
use guest_rt::{check, clock, hypercall, trap};
use xen_abi::*;

/// Not canonical.
const NO_ADDRESS: u64 = 0x1234_0000_0000_0000;

global_asm!(
    ".text",
    // Counts the way in, then goes on as the runtime's own entry of events; the flags are in the frame.
    "other_entry:",
    "lock inc qword ptr [rip + {count}]",
    "jmp event_stub",
    count = sym ENTRIES,
);

unsafe extern "C" {
    fn other_entry();
}

static ENTRIES: AtomicU64 = AtomicU64::new(0);

fn entries() -> u64 {
    ENTRIES.load(Ordering::Relaxed)
}

fn send(port: u32) -> i64 {
    hypercall::event_channel_op(EVTCHNOP_send, &mut evtchn_send { port })
}

fn set_callbacks(event: u64) -> i64 {
    let (failsafe, syscall) = (trap::failsafe_entry(), trap::syscall_entry());
    call(__HYPERVISOR_set_callbacks, [event, failsafe, syscall, 0, 0, 0])
}

fn callbacks(port: u32) {
    set_mask(false);
    let answer = set_callbacks(other_entry as *const () as u64);
    send(port);
    hypercall::version();
    check!(
        "set_callbacks/event",
        answer == 0 && entries() == 1 && fired(port) == 1,
        "{answer}, {} entries, {} events",
        entries(),
        fired(port)
    );
    // What is no address is passed over, and not told.
    let answer = set_callbacks(NO_ADDRESS);
    send(port);
    hypercall::version();
    check!(
        "set_callbacks/no-address",
        answer == 0 && entries() == 2 && fired(port) == 2,
        "{answer}, {} entries",
        entries()
    );
    let answer = set_callbacks(trap::event_entry());
    send(port);
    hypercall::version();
    check!(
        "set_callbacks/back",
        answer == 0 && entries() == 2 && fired(port) == 3,
        "{answer}, {} entries, {} events",
        entries(),
        fired(port)
    );
}

fn old_scheduling() {
    let old = |op: u32| call(__HYPERVISOR_sched_op_compat, [op.into(), 0, 0, 0, 0, 0]);
    let answer = old(SCHEDOP_yield);
    check!("sched_op_compat/yield", answer == 0, "{answer}");
    let port = timer_port();
    let (before, start) = (fired(port), clock::system_time());
    let due = start + 30 * MILLISECOND;
    set_mask(true);
    call(__HYPERVISOR_set_timer_op, [due, 0, 0, 0, 0, 0]);
    let answer = old(SCHEDOP_block);
    // Blocking lets events in.
    hypercall::version();
    let end = clock::system_time();
    check!(
        "sched_op_compat/block",
        answer == 0 && end >= due && fired(port) == before + 1,
        "{answer}, {} ns, {} events",
        end - start,
        fired(port) - before
    );
    let answer = old(SCHEDOP_poll);
    check!("sched_op_compat/unknown", is(answer, Errno::ENOSYS), "{answer}");
}

fn old_timer() {
    let port = timer_port();
    let set = |due: u64| call(__HYPERVISOR_set_timer_op, [due, 0, 0, 0, 0, 0]);
    let before = fired(port);
    let due = clock::system_time() + 20 * MILLISECOND;
    let answer = set(due);
    let early = fired(port) - before;
    let count = wait_for(port, before, 2000 * MILLISECOND);
    let now = clock::system_time();
    check!(
        "set_timer_op/fires",
        answer == 0 && early == 0 && count == 1 && now >= due,
        "{answer}, {early} at once, {count} in all"
    );
    set(clock::system_time() + 60 * MILLISECOND);
    let (answer, before) = (set(0), fired(port));
    pass(120 * MILLISECOND);
    let count = fired(port) - before;
    check!(
        "set_timer_op/stop",
        answer == 0 && count == 0,
        "{answer}, {count} events"
    );
    let before = fired(port);
    let answer = set(1);
    let count = wait_for(port, before, 2000 * MILLISECOND);
    check!(
        "set_timer_op/past",
        answer == 0 && count == 1,
        "{answer}, {count} events"
    );
    // Time that no timer can mean (old kernels made such): soon, not never.
    let before = fired(port);
    let answer = set(u64::MAX);
    let count = wait_for(port, before, 2000 * MILLISECOND);
    check!(
        "set_timer_op/never",
        answer == 0 && count == 1,
        "{answer}, {count} events"
    );
}

fn old_events(port: u32) {
    let old = |op: &mut evtchn_op| call(__HYPERVISOR_event_channel_op_compat, [at(op), 0, 0, 0, 0, 0]);
    let mut op = evtchn_op {
        cmd: EVTCHNOP_send,
        ..Default::default()
    };
    op.u[0] = port;
    let before = fired(port);
    let answer = old(&mut op);
    hypercall::version();
    check!(
        "event_channel_op_compat/send",
        answer == 0 && fired(port) == before + 1,
        "{answer}"
    );
    // The status of a port: dom, port; status, vcpu.
    op.cmd = EVTCHNOP_status;
    op.u = [DOMID_SELF.into(), port, 0, 0, 0, 0];
    let answer = old(&mut op);
    let status = op.u[2];
    check!(
        "event_channel_op_compat/status",
        answer == 0 && status == EVTCHNSTAT_ipi,
        "{answer} {status}"
    );
    op.cmd = EVTCHNOP_send;
    op.u[0] = 4000;
    let answer = old(&mut op);
    check!("event_channel_op_compat/no-port", is(answer, Errno::EINVAL), "{answer}");
    op.cmd = EVTCHNOP_init_control;
    let answer = old(&mut op);
    check!("event_channel_op_compat/unknown", is(answer, Errno::ENOSYS), "{answer}");
    let answer = call(__HYPERVISOR_event_channel_op_compat, [BAD, 0, 0, 0, 0, 0]);
    check!("event_channel_op_compat/pointer", is(answer, Errno::EFAULT), "{answer}");
}

fn map_as(domain: u16, page: &pages::Page, mfn: u64) -> i64 {
    let entry = mfn << 12 | PTE_DATA;
    let flags = UVMF_INVLPG | UVMF_LOCAL;
    call(
        __HYPERVISOR_update_va_mapping_otherdomain,
        [page.address(), entry, flags, domain.into(), 0, 0],
    )
}

fn others_frames() {
    let (window, own) = (take_page(), take_page());
    window.write(0, 1);
    own.write(0, 2);
    let answer = map_as(DOMID_SELF, window, own.mfn());
    let seen = window.read(0);
    check!(
        "update_va_mapping_otherdomain/self",
        answer == 0 && seen == 2,
        "{answer} {seen}"
    );
    let domain = create_domain();
    let mut list = [0];
    let answer = operate(
        __HYPERVISOR_memory_op,
        XENMEM_populate_physmap,
        &mut reservation(domain, &mut list),
    );
    assert!(answer == 1, "populate_physmap: {answer}");
    let answer = map_as(domain, window, list[0]);
    window.write(0, 3);
    let seen = (window.read(0), own.read(0));
    check!(
        "update_va_mapping_otherdomain/other",
        answer == 0 && seen == (3, 2),
        "{answer} {seen:?}"
    );
    let answer = map_as(NOBODY, window, own.mfn());
    check!(
        "update_va_mapping_otherdomain/nobody",
        is(answer, Errno::ESRCH),
        "{answer}"
    );
    pages::protect(window, PTE_DATA);
    check!(
        "update_va_mapping_otherdomain/back",
        window.read(0) == 1,
        "{}",
        window.read(0)
    );
    destroy_domain(domain);
}

fn handle() {
    let mut handle = [0xffu8; 16];
    let answer = operate(__HYPERVISOR_xen_version, XENVER_guest_handle, &mut handle);
    let known = crate::control::domain_info(0).map(|info| info.handle);
    check!(
        "guest_handle/same",
        answer == 0 && known == Some(handle),
        "{answer} {handle:x?}"
    );
    let args = [XENVER_guest_handle.into(), BAD, 0, 0, 0, 0];
    let answer = call(__HYPERVISOR_xen_version, args);
    check!("guest_handle/pointer", is(answer, Errno::EFAULT), "{answer}");
}

pub fn run() {
    let port = own_port();
    callbacks(port);
    // The other calls set it without the mask that this runtime's entry wants.
    let mut syscall = callback_register {
        typ: CALLBACKTYPE_syscall,
        flags: CALLBACKF_mask_events,
        _pad: 0,
        address: trap::syscall_entry(),
    };
    hypercall::callback_op(CALLBACKOP_register, &mut syscall);
    old_scheduling();
    old_timer();
    old_events(port);
    others_frames();
    handle();
}
