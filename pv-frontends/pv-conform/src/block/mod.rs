//! Block devices: `io/blkif.h`. The cases overwrite the first megabyte of the disk.

mod connections;
mod raw;
mod requests;

use alloc::vec::Vec;

use pv_hal::Hal;
use pv_xenbus::Store;

use crate::{Bench, Case, Outcome};

const HEADER: &str = "io/blkif.h";

/// All cases for block devices.
pub fn cases<H: Hal, S: Store>() -> Vec<Case<H, S>> {
    let connections = connections::<H, S>().into_iter();
    let all = connections.chain(requests()).map(|(name, expects, run)| Case {
        name,
        header: if name == "block/rings-of-several-pages" {
            "io/ring.h"
        } else {
            HEADER
        },
        expects,
        run,
    });
    all.collect()
}

type Row<H, S> = (&'static str, &'static str, fn(&Bench<H, S>) -> Outcome);

fn connections<H: Hal, S: Store>() -> Vec<Row<H, S>> {
    use connections as c;
    [
        (
            "block/disk-is-described",
            "sectors, sector-size and physical-sector-size fit each other",
            c::disk_is_described as _,
        ),
        (
            "block/no-features",
            "a frontend without any feature is served",
            c::without_features as _,
        ),
        (
            "block/persistent-grants",
            "the same pages carry request after request",
            c::persistent_grants as _,
        ),
        (
            "block/rings-of-several-pages",
            "a ring as large as offered is served",
            c::rings_of_pages as _,
        ),
        ("block/several-queues", "every queue is served", c::several_queues as _),
        (
            "block/indirect-requests",
            "a request may list its segments in a page",
            c::indirect_requests as _,
        ),
        ("block/all-features", "all of them together", c::everything_at_once as _),
        ("block/flush", "flushes are done where offered", c::flushes as _),
        (
            "block/discard",
            "discards are done where offered, or answered as not supported",
            c::discards as _,
        ),
        (
            "block/reconnect",
            "a frontend may close and connect again, with other rings",
            c::reconnects as _,
        ),
        (
            "block/driver-replaced",
            "a frontend that went without a word is followed by another",
            c::driver_is_replaced as _,
        ),
        (
            "block/ring-suspended",
            "requests of a ring that was given up are served by the next",
            c::ring_is_suspended as _,
        ),
        (
            "block/bad-ring-page",
            "a ring that was not granted is refused",
            c::bad_ring_pages as _,
        ),
        (
            "block/bad-port",
            "an event channel that does not exist is refused",
            c::bad_ports as _,
        ),
        (
            "block/more-than-offered",
            "more queues or pages than offered are refused",
            c::more_than_offered as _,
        ),
        (
            "block/unknown-layout",
            "an unknown protocol is refused",
            c::unknown_layout as _,
        ),
        (
            "block/unplugged-under-load",
            "every request ends, and the disk comes back",
            c::unplugged_under_load as _,
        ),
        (
            "block/backend-dies",
            "every request ends, and the disk comes back",
            c::backend_dies_in_mid_request as _,
        ),
    ]
    .into()
}

fn requests<H: Hal, S: Store>() -> Vec<Row<H, S>> {
    use requests as r;
    [
        (
            "block/write-then-read",
            "sectors lie in their segments in order",
            r::data_comes_back as _,
        ),
        (
            "block/ids",
            "a response repeats id and operation",
            r::ids_are_repeated as _,
        ),
        (
            "block/full-ring",
            "as many requests as there are slots are served",
            r::full_ring_is_served as _,
        ),
        (
            "block/spurious-events",
            "events without requests do no harm",
            r::events_without_requests as _,
        ),
        (
            "block/beyond-the-end",
            "sectors behind the end are an error",
            r::beyond_the_end as _,
        ),
        (
            "block/segment-outside-page",
            "a segment that leaves its page is an error",
            r::segments_outside_their_page as _,
        ),
        (
            "block/segment-counts",
            "none and more than 11 segments are errors",
            r::wrong_counts_of_segments as _,
        ),
        (
            "block/unknown-operation",
            "an unknown operation is not supported",
            r::unknown_operations as _,
        ),
        (
            "block/bad-grant",
            "a page that was not granted is an error",
            r::bad_grants as _,
        ),
        (
            "block/read-only-grant",
            "nothing is read into a page that may only be read",
            r::reads_into_read_only_pages as _,
        ),
        (
            "block/flush-request",
            "a flush has no segments",
            r::flush_without_segments as _,
        ),
        (
            "block/indirect-checks",
            "a bad list of segments is an error",
            r::indirect_lists_are_checked as _,
        ),
        (
            "block/ring-overflow",
            "more requests than slots are not served",
            r::ring_overflow as _,
        ),
    ]
    .into()
}
