//! Counts what events and grants cost, in TSC ticks: under QEMU's `-icount shift=0` a tick is an instruction. The kernel
//! runs in Dom0's place and grants its pages to itself. Each value is the least mean of several batches; the guest's own
//! instructions, a few tens, are in it and the same on every hypervisor.
#![no_std]
#![no_main]
use core::arch::asm;
use core::sync::atomic::{AtomicU32, Ordering};
use guest_rt::events::{fired, set_mask, unmask_port};
use guest_rt::pages::{self, PTE_DATA, Page, take_page};
use guest_rt::{check, hypercall, println};
use xen_abi::*;

guest_rt::kernel!(main);

const BATCHES: u32 = 9;
const ROUNDS: u64 = 100;
/// Operations of one hypercall, about as many as a backend makes at once.
const OPERATIONS: usize = 32;
/// The domain that this kernel is.
const OWN: u16 = 0;

fn tsc() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a counter.
    unsafe { asm!("rdtsc", out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags)) };
    u64::from(high) << 32 | u64::from(low)
}

fn bench(name: &str, ticks: u64) {
    println!("BENCH {name} {ticks}");
}

/// The least mean ticks of the measured parts of a round; `code` gives those of one.
fn measure(mut code: impl FnMut() -> u64) -> u64 {
    code();
    let batch = |_| (0..ROUNDS).map(|_| code()).sum::<u64>() / ROUNDS;
    (0..BATCHES).map(batch).min().unwrap_or(0)
}

fn timed(code: impl FnOnce()) -> u64 {
    let begun = tsc();
    code();
    tsc() - begun
}

fn grant_op<T>(operation: u32, requests: &mut [T]) -> i64 {
    let arguments = [
        operation.into(),
        requests.as_mut_ptr() as u64,
        requests.len() as u64,
        0,
        0,
        0,
    ];
    // SAFETY: the requests are exclusively borrowed; the pages they name are used by this benchmark alone.
    unsafe { hypercall::hypercall(__HYPERVISOR_grant_table_op, arguments) }
}

/// An event channel from this domain to itself: send, delivery, handler.
fn events() {
    let mut unbound = evtchn_alloc_unbound {
        dom: DOMID_SELF,
        remote_dom: DOMID_SELF,
        port: 0,
    };
    let made = hypercall::event_channel_op(EVTCHNOP_alloc_unbound, &mut unbound);
    let mut bind = evtchn_bind_interdomain {
        remote_dom: DOMID_SELF,
        _pad: 0,
        remote_port: unbound.port,
        local_port: 0,
    };
    let bound = hypercall::event_channel_op(EVTCHNOP_bind_interdomain, &mut bind);
    check!("events/channel", made == 0 && bound == 0, "{made} {bound}");
    unmask_port(unbound.port);
    unmask_port(bind.local_port);
    set_mask(false);
    let send = || {
        hypercall::event_channel_op(EVTCHNOP_send, &mut evtchn_send { port: bind.local_port });
    };
    let before = fired(unbound.port);
    bench("event_round_trip", measure(|| timed(send)));
    let expected = 1 + BATCHES * ROUNDS as u32;
    let count = fired(unbound.port) - before;
    check!("events/delivered", count == expected, "{count} of {expected}");
    set_mask(true);
    bench("event_send_masked", measure(|| timed(send)));
}

/// Grants this domain one of its pages; the first entries are reserved.
fn grant(table: &Page, reference: usize, page: &Page) {
    let entry = table.address() + reference as u64 * 8;
    // SAFETY: an aligned entry of the table, which is mapped at this address; both sides use atomics.
    let (head, frame) = unsafe {
        (
            AtomicU32::from_ptr(entry as *mut u32),
            AtomicU32::from_ptr((entry + 4) as *mut u32),
        )
    };
    frame.store(page.mfn() as u32, Ordering::Relaxed);
    head.store(u32::from(GTF_permit_access) | u32::from(OWN) << 16, Ordering::Release);
}

fn maps(targets: &[&Page; OPERATIONS], count: usize) {
    let mut handles = [0; OPERATIONS];
    // The least of all rounds: unmapping is measured beside mapping.
    let mut unmapping = u64::MAX;
    let mapping = measure(|| {
        let mut requests: [gnttab_map_grant_ref; OPERATIONS] = core::array::from_fn(|index| gnttab_map_grant_ref {
            host_addr: targets[index].address(),
            flags: GNTMAP_host_map,
            grant_ref: GNTTAB_NR_RESERVED_ENTRIES + index as u32,
            dom: OWN,
            ..Default::default()
        });
        let ticks = timed(|| assert!(grant_op(GNTTABOP_map_grant_ref, &mut requests[..count]) == 0));
        for (handle, request) in handles.iter_mut().zip(&requests[..count]) {
            assert!(request.status == GNTST_okay, "map: {}", request.status);
            *handle = request.handle;
        }
        unmapping = unmapping.min(unmap(targets, &handles[..count]));
        ticks
    });
    let name = if count == 1 { "one" } else { "of_32" };
    println!("BENCH grant_map_{name} {}", mapping / count as u64);
    println!("BENCH grant_unmap_{name} {}", unmapping / count as u64);
}

fn unmap(targets: &[&Page; OPERATIONS], handles: &[u32]) -> u64 {
    let mut requests: [gnttab_unmap_grant_ref; OPERATIONS] = core::array::from_fn(|index| gnttab_unmap_grant_ref {
        host_addr: targets[index].address(),
        handle: handles.get(index).copied().unwrap_or_default(),
        ..Default::default()
    });
    let requests = &mut requests[..handles.len()];
    let ticks = timed(|| assert!(grant_op(GNTTABOP_unmap_grant_ref, requests) == 0));
    assert!(requests.iter().all(|request| request.status == GNTST_okay), "unmap");
    ticks
}

fn copies(target: &Page, bytes: u16) -> u64 {
    measure(|| {
        let mut requests: [gnttab_copy; OPERATIONS] = core::array::from_fn(|index| gnttab_copy {
            source: gnttab_copy_ptr {
                u: u64::from(GNTTAB_NR_RESERVED_ENTRIES) + index as u64,
                domid: OWN,
                ..Default::default()
            },
            dest: gnttab_copy_ptr {
                u: target.mfn(),
                domid: DOMID_SELF,
                ..Default::default()
            },
            len: bytes,
            flags: GNTCOPY_source_gref,
            ..Default::default()
        });
        let ticks = timed(|| assert!(grant_op(GNTTABOP_copy, &mut requests) == 0));
        assert!(
            requests.iter().all(|request| request.status == GNTST_okay),
            "copy: {}",
            requests[0].status
        );
        ticks
    }) / OPERATIONS as u64
}

fn grants() {
    let mut frames = [0u64; 1];
    let mut setup = [gnttab_setup_table {
        dom: DOMID_SELF,
        nr_frames: 1,
        frame_list: frames.as_mut_ptr() as u64,
        ..Default::default()
    }];
    let answer = grant_op(GNTTABOP_setup_table, &mut setup);
    // SAFETY: the hypervisor wrote the word behind the compiler's back.
    let frame = unsafe { frames.as_ptr().read_volatile() };
    let table = take_page();
    let mapped = pages::map(table.address(), frame, PTE_DATA);
    check!(
        "grants/table",
        answer == 0 && setup[0].status == GNTST_okay && mapped == 0,
        "{answer} {} {mapped}",
        setup[0].status
    );
    let sources: [&Page; OPERATIONS] = core::array::from_fn(|_| take_page());
    for (index, page) in sources.iter().enumerate() {
        page.write(0, 1000 + index as u64);
        grant(table, GNTTAB_NR_RESERVED_ENTRIES as usize + index, page);
    }
    let targets: [&Page; OPERATIONS] = core::array::from_fn(|_| take_page());
    maps(&targets, 1);
    maps(&targets, OPERATIONS);
    let target = take_page();
    bench("grant_copy_4096", copies(target, 4096));
    check!(
        "grants/copied",
        target.read(0) == 1000 + OPERATIONS as u64 - 1,
        "{}",
        target.read(0)
    );
    bench("grant_copy_64", copies(target, 64));
}

fn main() {
    events();
    grants();
}
