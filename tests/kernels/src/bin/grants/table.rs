//! The table, mapped where its entries can be written, and the hypercalls about it.
use crate::channels;
use core::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering::SeqCst};
use guest_rt::pages::{self, PTE_DATA, Page};
use guest_rt::{check, hypercall};
use xen_abi::*;

static NUMBER: AtomicU16 = AtomicU16::new(0);

/// The number of the domain that this kernel is.
pub(crate) fn own() -> domid_t {
    NUMBER.load(SeqCst)
}

/// Finds out the number: a port that waits for this domain names it.
fn find_number() {
    let (_, port) = channels::alloc(DOMID_SELF, DOMID_SELF);
    NUMBER.store(channels::status(port).1 as u16, SeqCst);
    channels::close(port);
}

/// Frames of the table that are mapped here.
const FRAMES: u32 = 2;

static TABLE: [Page; FRAMES as usize] = [const { Page::new() }; FRAMES as usize];

/// A grant operation on `requests`.
pub(crate) fn operate<T>(operation: u32, requests: &mut [T]) -> i64 {
    let args = [
        operation.into(),
        requests.as_mut_ptr() as u64,
        requests.len() as u64,
        0,
        0,
        0,
    ];
    // SAFETY: the requests are alive; what they map and copy are pages that only these tests use.
    let answer = unsafe { hypercall::hypercall(__HYPERVISOR_grant_table_op, args) };
    // The hypervisor wrote into them.
    core::hint::black_box(requests);
    answer
}

/// A grant operation with one request, as it comes back; the call itself must succeed.
pub(crate) fn one<T: Copy>(operation: u32, request: T) -> T {
    let mut requests = [request];
    let answer = operate(operation, &mut requests);
    assert!(answer == 0, "operation {operation} answers {answer}");
    requests[0]
}

/// The `index`th word of the table.
fn word<T>(index: u32) -> *mut T {
    let page = &TABLE[index as usize * size_of::<T>() / 4096];
    (page.address() as *mut T).wrapping_add(index as usize % (4096 / size_of::<T>()))
}

/// Flags and grantee of entry `gref`, of version 1.
pub(crate) fn head(gref: u32) -> &'static AtomicU32 {
    // SAFETY: an aligned word of the table, which both sides only touch by atomics.
    unsafe { AtomicU32::from_ptr(word(gref * 2)) }
}

/// The flags of entry `gref`, of version 1.
pub(crate) fn flags(gref: u32) -> u16 {
    head(gref).load(SeqCst) as u16
}

/// Fills entry `gref` of version 1.
pub(crate) fn grant(gref: u32, mfn: u64, flags: u16) {
    // SAFETY: as in `head`.
    unsafe { AtomicU32::from_ptr(word(gref * 2 + 1)) }.store(mfn as u32, SeqCst);
    head(gref).store(u32::from(flags) | u32::from(own()) << 16, SeqCst);
}

/// Empties an entry of version 1.
pub(crate) fn end(gref: u32) {
    head(gref).store(0, SeqCst);
}

/// Entry `gref` of version 2 as its words: head and the one behind it, the frame.
pub(crate) fn entry2(gref: u32) -> [&'static AtomicU64; 2] {
    // SAFETY: as in `head`.
    [0, 1].map(|half| unsafe { AtomicU64::from_ptr(word(gref * 2 + half)) })
}

/// Fills entry `gref` of version 2.
pub(crate) fn grant2(gref: u32, flags: u16, word: u32, frame: u64) {
    let [head, contents] = entry2(gref);
    contents.store(frame, SeqCst);
    head.store(
        u64::from(flags) | u64::from(own()) << 16 | u64::from(word) << 32,
        SeqCst,
    );
}

/// The status of an entry of version 2, in the page where its frame is mapped.
pub(crate) fn status2(page: &Page, gref: u32) -> u16 {
    // SAFETY: as in `head`.
    unsafe { AtomicU16::from_ptr((page.address() as *mut u16).wrapping_add(gref as usize)) }.load(SeqCst)
}

pub(crate) fn run() {
    find_number();
    let query = one(
        GNTTABOP_query_size,
        gnttab_query_size {
            dom: DOMID_SELF,
            ..Default::default()
        },
    );
    check!(
        "table/size",
        query.status == GNTST_okay && query.nr_frames >= 1 && query.max_nr_frames == 64,
        "{} of {}, {}",
        query.nr_frames,
        query.max_nr_frames,
        query.status
    );
    let mut frames = [0u64; FRAMES as usize];
    let setup = one(
        GNTTABOP_setup_table,
        gnttab_setup_table {
            dom: DOMID_SELF,
            nr_frames: FRAMES,
            frame_list: frames.as_mut_ptr() as u64,
            ..Default::default()
        },
    );
    let mapped = TABLE
        .iter()
        .zip(core::hint::black_box(frames))
        .all(|(page, mfn)| pages::map(page.address(), mfn, PTE_DATA) == 0);
    check!(
        "table/setup",
        setup.status == GNTST_okay && mapped,
        "{} {frames:x?}",
        setup.status
    );
    let version = one(
        GNTTABOP_get_version,
        gnttab_get_version {
            dom: DOMID_SELF,
            ..Default::default()
        },
    );
    check!("table/version", version.version == 1, "{}", version.version);
}
