//! Requests that a backend must refuse, and those that it must not.

use alloc::format;
use alloc::vec::Vec;

use pv_hal::{GrantRef, Hal, Memory};
use pv_xenbus::Store;
use xen_abi::{
    BLKIF_OP_FLUSH_DISKCACHE, BLKIF_OP_READ, BLKIF_OP_WRITE, BLKIF_RSP_EOPNOTSUPP, BLKIF_RSP_ERROR, BLKIF_RSP_OKAY,
    blkif_request_segment,
};
use zerocopy::IntoBytes;

use super::raw::{Raw, nap, read_only_page};
use crate::{Bench, Outcome, Stop};

/// Grants that no frontend has given: beyond every table.
const NO_GRANT: u32 = 0x7fff_fff0;

pub(super) fn data_comes_back<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut raw = Raw::open(bench)?;
    raw.fill(0x5a);
    let write = raw.request(BLKIF_OP_WRITE, 8, 2);
    bench.expect(raw.ask(bench, &write)? == BLKIF_RSP_OKAY, "a write fails")?;
    raw.fill(0);
    // Half of a page, into another place of it.
    let mut read = raw.request(BLKIF_OP_READ, 10, 1);
    (read.seg[0].first_sect, read.seg[0].last_sect) = (4, 6);
    bench.expect(raw.ask(bench, &read)? == BLKIF_RSP_OKAY, "a read fails")?;
    let mut page = [0; 4096];
    raw.data.read(0, &mut page);
    let is_right = |(at, byte): (usize, &u8)| *byte == if (4 * 512..7 * 512).contains(&at) { 0x5a } else { 0 };
    bench.expect(
        page.iter().enumerate().all(is_right),
        "the sectors lie elsewhere, or hold something else",
    )?;
    raw.close(bench)
}

pub(super) fn ids_are_repeated<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut raw = Raw::open(bench)?;
    let mut expected = Vec::new();
    for sector in 0..8 {
        let mut request = raw.request(BLKIF_OP_READ, sector * 8, 1);
        request.id = if sector == 3 { u64::MAX } else { request.id };
        raw.send(&request)?;
        expected.push((request.id, request.operation));
    }
    let mut seen = Vec::new();
    for _ in 0..8 {
        let response = raw.answer(bench)?;
        seen.push((response.id, response.operation));
    }
    expected.sort_unstable();
    seen.sort_unstable();
    bench.expect(
        seen == expected,
        "responses have other ids or operations than their requests",
    )?;
    raw.close(bench)
}

pub(super) fn full_ring_is_served<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut raw = Raw::open(bench)?;
    let slots = raw.ring.slot_count();
    bench.expect(slots == 32, format_args!("a page of ring has {slots} slots"))?;
    for round in 0..3 {
        for slot in 0..slots {
            let request = raw.request(BLKIF_OP_READ, u64::from(slot), 1);
            raw.send(&request)?;
        }
        for slot in 0..slots {
            let status = raw.answer(bench)?.status;
            bench.expect(
                status == BLKIF_RSP_OKAY,
                format_args!("round {round}, answer {slot}: {status}"),
            )?;
        }
    }
    raw.close(bench)
}

pub(super) fn events_without_requests<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut raw = Raw::open(bench)?;
    for _ in 0..200 {
        raw.channel.notify();
    }
    nap(bench);
    raw.expect_service(bench)?;
    raw.close(bench)
}

/// Sends a request that is to fail, and then good ones.
fn expect_refusals<H: Hal, S: Store>(
    bench: &Bench<H, S>,
    wanted: &[i16],
    requests: impl FnOnce(&mut Raw<H, S>) -> Vec<(&'static str, xen_abi::blkif_request)>,
) -> Outcome {
    let mut raw = Raw::open(bench)?;
    for (what, request) in requests(&mut raw) {
        let status = raw.ask(bench, &request)?;
        bench.expect(wanted.contains(&status), format_args!("{what}: answered with {status}"))?;
        raw.expect_service(bench)?;
    }
    raw.close(bench)
}

pub(super) fn beyond_the_end<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    expect_refusals(bench, &[BLKIF_RSP_ERROR], |raw| {
        let sectors = raw.sectors;
        let mut list = Vec::new();
        for operation in [BLKIF_OP_READ, BLKIF_OP_WRITE] {
            for (what, sector) in [
                ("the last sector and one more page", sectors - 1),
                ("the first sector behind the end", sectors),
                ("a sector far away", 1 << 40),
                ("a sector whose byte does not fit 64 bits", u64::MAX / 512 + 1),
                ("the last number", u64::MAX),
            ] {
                list.push((what, raw.request(operation, sector, 1)));
            }
        }
        list
    })
}

pub(super) fn segments_outside_their_page<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    expect_refusals(bench, &[BLKIF_RSP_ERROR], |raw| {
        let mut list = Vec::new();
        for (what, first, last) in [
            ("one sector too many", 0, 8),
            ("255 sectors", 0, 255),
            ("backwards", 5, 4),
        ] {
            let mut request = raw.request(BLKIF_OP_READ, 0, 3);
            (request.seg[2].first_sect, request.seg[2].last_sect) = (first, last);
            list.push((what, request));
        }
        list
    })
}

pub(super) fn wrong_counts_of_segments<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    expect_refusals(bench, &[BLKIF_RSP_ERROR], |raw| {
        let none = raw.request(BLKIF_OP_READ, 0, 0);
        let twelve = raw.request(BLKIF_OP_WRITE, 0, 12);
        let many = raw.request(BLKIF_OP_READ, 0, 255);
        [("no segment", none), ("12 segments", twelve), ("255 segments", many)].into()
    })
}

pub(super) fn unknown_operations<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    expect_refusals(bench, &[BLKIF_RSP_EOPNOTSUPP], |raw| {
        let reserved = raw.request(4, 0, 1);
        let unknown = raw.request(200, 0, 1);
        [("the reserved operation", reserved), ("operation 200", unknown)].into()
    })
}

pub(super) fn bad_grants<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    expect_refusals(bench, &[BLKIF_RSP_ERROR], |raw| {
        let mut list = Vec::new();
        for (what, gref) in [("beyond the table", NO_GRANT), ("the last number", u32::MAX)] {
            for (operation, segment) in [(BLKIF_OP_READ, 0), (BLKIF_OP_WRITE, 2)] {
                let mut request = raw.request(operation, 0, 3);
                request.seg[segment].gref = gref;
                list.push((what, request));
            }
        }
        list
    })
}

pub(super) fn reads_into_read_only_pages<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut raw = Raw::open(bench)?;
    let page = read_only_page(bench, &raw)?;
    page.fill(0, 4096, 0x33);
    let mut request = raw.request(BLKIF_OP_READ, 0, 2);
    request.seg[1].gref = page.grants()[0].0;
    let status = raw.ask(bench, &request)?;
    bench.expect(
        status == BLKIF_RSP_ERROR,
        format_args!("a read into such a page is answered with {status}"),
    )?;
    let mut bytes = [0; 4096];
    page.read(0, &mut bytes);
    bench.expect(bytes.iter().all(|byte| *byte == 0x33), "the page was written")?;
    // Reading from it is allowed.
    let mut request = raw.request(BLKIF_OP_WRITE, 0, 1);
    request.seg[0].gref = page.grants()[0].0;
    let status = raw.ask(bench, &request)?;
    bench.expect(
        status == BLKIF_RSP_OKAY,
        format_args!("a write out of such a page is answered with {status}"),
    )?;
    raw.expect_service(bench)?;
    raw.close(bench)
}

pub(super) fn flush_without_segments<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut raw = Raw::open(bench)?;
    let is_offered = raw.bus.has_feature("feature-flush-cache")?;
    let request = raw.request(BLKIF_OP_FLUSH_DISKCACHE, 0, 0);
    let status = raw.ask(bench, &request)?;
    let is_right = status == BLKIF_RSP_OKAY || !is_offered || status == BLKIF_RSP_EOPNOTSUPP;
    bench.expect(is_right, format_args!("a flush is answered with {status}"))?;
    raw.expect_service(bench)?;
    raw.close(bench)
}

/// How many segments an indirect request may have here.
fn indirect_segments<H: Hal, S: Store>(raw: &Raw<H, S>) -> Result<u16, Stop> {
    let offered: u32 = raw.bus.backend_value("feature-max-indirect-segments")?.unwrap_or(0);
    match u16::try_from(offered.min(4096)) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(Stop::NotApplicable("no indirect requests are offered".into())),
    }
}

pub(super) fn indirect_lists_are_checked<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut raw = Raw::open(bench)?;
    let most = indirect_segments(&raw)?;
    let list = pv_hal::SharedPages::new(&bench.hal, raw.bus.backend_domain(), 1, pv_hal::Access::ReadWrite)?;
    let grant = list.grants()[0];
    let mut segments: Vec<blkif_request_segment> = (0..12).map(|page| raw.segment(page)).collect();
    list.write(0, segments.as_bytes());
    let good = raw.indirect(12, &[grant]);
    let status = raw.ask(bench, &good)?;
    bench.expect(
        status == BLKIF_RSP_OKAY,
        format_args!("a good one is answered with {status}"),
    )?;
    let none = raw.indirect(0, &[grant]);
    let too_many = raw.indirect(most.saturating_add(1), &[grant; 8]);
    let no_page = raw.indirect(12, &[GrantRef(NO_GRANT)]);
    for (what, request) in [
        ("no segment", none),
        ("more than offered", too_many),
        ("no such page", no_page),
    ] {
        let status = raw.ask(bench, &request)?;
        bench.expect(status != BLKIF_RSP_OKAY, format_args!("{what}: done all the same"))?;
    }
    for (what, change) in [
        ("a segment that leaves its page", (segments[11].gref, 8)),
        ("a segment without grant", (NO_GRANT, 7)),
    ] {
        (segments[11].gref, segments[11].last_sect) = change;
        list.write(0, segments.as_bytes());
        let request = raw.indirect(12, &[grant]);
        let status = raw.ask(bench, &request)?;
        bench.expect(
            status == BLKIF_RSP_ERROR,
            format_args!("{what}: answered with {status}"),
        )?;
        raw.expect_service(bench)?;
    }
    raw.close(bench)
}

pub(super) fn ring_overflow<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    use core::sync::atomic::Ordering;
    for ahead in [33u32, 0x8000_0000, u32::MAX] {
        let mut raw = Raw::open(bench)?;
        raw.expect_service(bench)?;
        raw.fill(0x77);
        let made = raw.ring.memory().load_u32(0, Ordering::Relaxed);
        raw.ring
            .memory()
            .store_u32(0, made.wrapping_add(ahead), Ordering::SeqCst);
        raw.channel.notify();
        for _ in 0..10 {
            nap(bench);
        }
        // What the backend does about it is its own affair, but it must not answer requests that nobody made.
        let answered = raw.ring.memory().load_u32(8, Ordering::Acquire);
        bench.expect(
            answered == made,
            format!("{ahead} requests claimed: {} answered", answered.wrapping_sub(made)),
        )?;
        raw.close(bench)?;
    }
    // A frontend that behaves is served again.
    let mut raw = Raw::open(bench)?;
    raw.expect_service(bench)?;
    raw.close(bench)
}
