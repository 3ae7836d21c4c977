//! Grants of this domain to itself: pages mapped, unmapped and copied, one and many at once.
use crate::measure::{bench, of_parts, timed};
use core::sync::atomic::{AtomicU32, Ordering};
use guest_rt::pages::{self, PTE_DATA, Page, take_page};
use guest_rt::{check, hypercall, println, window};
use xen_abi::*;

/// Operations of one hypercall, about as many as a backend makes at once.
const OPERATIONS: usize = 32;

fn operate<T>(operation: u32, requests: &mut [T]) -> i64 {
    let [list, count] = [requests.as_mut_ptr() as u64, requests.len() as u64];
    // SAFETY: the requests are exclusively borrowed; the pages they name are used by this measurement alone.
    unsafe { hypercall::hypercall(__HYPERVISOR_grant_table_op, [operation.into(), list, count, 0, 0, 0]) }
}

struct Bench {
    own: domid_t,
    /// Where mapped pages appear.
    targets: u64,
}

/// The first frame of the grant table, mapped.
fn table() -> Option<u64> {
    let mut frames = [0u64; 1];
    let mut setup = [gnttab_setup_table {
        dom: DOMID_SELF,
        nr_frames: 1,
        frame_list: frames.as_mut_ptr() as u64,
        ..Default::default()
    }];
    let answer = operate(GNTTABOP_setup_table, &mut setup);
    // SAFETY: the hypervisor wrote the word behind the compiler's back.
    let frame = unsafe { frames.as_ptr().read_volatile() };
    let address = window::reserve(1)?;
    let mapped = pages::map(address, frame, PTE_DATA);
    check!("grants/table", answer == 0 && mapped == 0, "{answer} {mapped}");
    Some(address)
}

/// Grants domain `to` a page; the first entries are reserved.
fn grant(table: u64, index: usize, page: &Page, to: domid_t) {
    let entry = table + u64::from(GNTTAB_NR_RESERVED_ENTRIES) * 8 + index as u64 * 8;
    // SAFETY: aligned words of the table, which is mapped at this address; both sides use atomics.
    let [head, frame] = [entry, entry + 4].map(|address| unsafe { AtomicU32::from_ptr(address as *mut u32) });
    frame.store(page.mfn() as u32, Ordering::Relaxed);
    head.store(u32::from(GTF_permit_access) | u32::from(to) << 16, Ordering::Release);
}

impl Bench {
    fn target(&self, index: usize) -> u64 {
        self.targets + index as u64 * 4096
    }

    fn maps(&self, count: usize) {
        let mut handles = [0; OPERATIONS];
        // The least of all rounds: unmapping is measured beside mapping.
        let mut unmapping = u64::MAX;
        let mapping = of_parts(|| {
            let mut requests: [gnttab_map_grant_ref; OPERATIONS] = core::array::from_fn(|index| gnttab_map_grant_ref {
                host_addr: self.target(index),
                flags: GNTMAP_host_map,
                grant_ref: GNTTAB_NR_RESERVED_ENTRIES + index as u32,
                dom: self.own,
                ..Default::default()
            });
            let ticks = timed(|| assert!(operate(GNTTABOP_map_grant_ref, &mut requests[..count]) == 0));
            for (handle, request) in handles.iter_mut().zip(&requests[..count]) {
                assert!(request.status == GNTST_okay, "map: {}", request.status);
                *handle = request.handle;
            }
            unmapping = unmapping.min(self.unmap(&handles[..count]));
            ticks
        });
        let name = if count == 1 { "one" } else { "of_32" };
        println!("BENCH grant_map_{name} {}", mapping / count as u64);
        println!("BENCH grant_unmap_{name} {}", unmapping / count as u64);
    }

    fn unmap(&self, handles: &[grant_handle_t]) -> u64 {
        let mut requests: [gnttab_unmap_grant_ref; OPERATIONS] = core::array::from_fn(|index| gnttab_unmap_grant_ref {
            host_addr: self.target(index),
            handle: handles.get(index).copied().unwrap_or_default(),
            ..Default::default()
        });
        let requests = &mut requests[..handles.len()];
        let ticks = timed(|| assert!(operate(GNTTABOP_unmap_grant_ref, requests) == 0));
        assert!(requests.iter().all(|request| request.status == GNTST_okay), "unmap");
        ticks
    }

    fn copies(&self, target: &Page, bytes: u16) -> u64 {
        let all = of_parts(|| {
            let mut requests: [gnttab_copy; OPERATIONS] = core::array::from_fn(|index| gnttab_copy {
                source: gnttab_copy_ptr {
                    u: u64::from(GNTTAB_NR_RESERVED_ENTRIES) + index as u64,
                    domid: self.own,
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
            let ticks = timed(|| assert!(operate(GNTTABOP_copy, &mut requests) == 0));
            let status = requests[0].status;
            assert!(
                requests.iter().all(|request| request.status == GNTST_okay),
                "copy: {status}"
            );
            ticks
        });
        all / OPERATIONS as u64
    }
}

/// Measures all of them, in domain `own`.
pub fn run(own: domid_t) {
    let (Some(table), Some(targets)) = (table(), window::reserve(OPERATIONS as u64)) else {
        check!("grants/room", false, "no addresses");
        return;
    };
    for index in 0..OPERATIONS {
        let page = take_page();
        page.write(0, 1000 + index as u64);
        grant(table, index, page, own);
    }
    let this = Bench { own, targets };
    this.maps(1);
    this.maps(OPERATIONS);
    let target = take_page();
    bench("grant_copy_4096", this.copies(target, 4096));
    let word = target.read(0);
    check!("grants/copied", word == 1000 + OPERATIONS as u64 - 1, "{word}");
    bench("grant_copy_64", this.copies(target, 64));
}
