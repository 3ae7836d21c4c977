//! Cases about frames.

use alloc::format;
use alloc::vec::Vec;

use pv_hal::Hal;
use pv_xenbus::Store;
use xen_abi::{
    NETIF_RSP_ERROR, NETIF_RSP_NULL, NETIF_RSP_OKAY, NETTXF_csum_blank, NETTXF_data_validated, NETTXF_extra_info,
    NETTXF_more_data, XEN_NETIF_EXTRA_TYPE_GSO, XEN_NETIF_GSO_TYPE_TCPV4, netif_extra_info,
};

use super::frames::{self, echo_answer, echo_data, echo_request};
use super::raw::{PAGES, Raw};
use crate::{Bench, Outcome, Stop};

pub(super) fn answers_echo<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut raw = Raw::open(bench)?;
    raw.works(bench)?;
    let queue = &mut raw.queues[0];
    let mut request = queue.request(3, &frames::arp_request(raw.mac), 0);
    request.id = 0xbeef;
    queue.push(&request)?;
    queue.flush();
    let answers = queue.answers(bench, 1)?;
    raw.close(bench)?;
    bench.expect(answers == [(0xbeef, NETIF_RSP_OKAY)], format!("{answers:x?}"))
}

/// Sends an echo request cut at `cuts`, and compares what comes back.
fn echo_in_pieces<H: Hal, S: Store>(bench: &Bench<H, S>, len: usize, pieces: usize) -> Outcome {
    let mut raw = Raw::open(bench)?;
    let peer = raw.probe(bench, 0)?;
    let queue = &mut raw.queues[0];
    let mut answer = None;
    for number in 0..3 {
        let frame = echo_request(peer, raw.mac, number, len);
        for (page, part) in frame.chunks(frame.len().div_ceil(pieces)).enumerate() {
            let is_last = (page + 1) * frame.len().div_ceil(pieces) >= frame.len();
            let mut request = queue.request(page, part, if is_last { 0 } else { NETTXF_more_data });
            if page == 0 {
                request.size = frame.len() as u16;
            }
            queue.push(&request)?;
        }
        queue.flush();
        let statuses = queue.answers(bench, pieces)?;
        if statuses.iter().any(|&(_, status)| status != NETIF_RSP_OKAY) {
            return Err(Stop::Failed(format!("answers {statuses:?}")));
        }
        answer = queue.receive_where(bench, |frame| echo_answer(frame, number).map(Vec::from))?;
        if let Some(data) = &answer {
            let is_same = *data == echo_data(number, len);
            answer = is_same.then(|| data.clone());
            break;
        }
    }
    raw.close(bench)?;
    bench.expect(answer.is_some(), "the data does not come back as it was sent")
}

pub(super) fn one_piece<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    echo_in_pieces(bench, 1400, 1)
}

pub(super) fn three_pieces<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    echo_in_pieces(bench, 1000, 3)
}

pub(super) fn eighteen_pieces<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    echo_in_pieces(bench, 1398, 18)
}

pub(super) fn blank_checksum<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut raw = Raw::open(bench)?;
    let peer = raw.probe(bench, 0)?;
    let queue = &mut raw.queues[0];
    let mut is_refused = false;
    for port in 40000..40003 {
        let frame = frames::tcp_request(peer, raw.mac, port);
        let request = queue.request(0, &frame, NETTXF_csum_blank | NETTXF_data_validated);
        queue.push(&request)?;
        queue.flush();
        queue.answers(bench, 1)?;
        let refusal = queue.receive_where(bench, |frame| frames::is_tcp_refusal(frame, port).then_some(()))?;
        is_refused = refusal.is_some();
        if is_refused {
            break;
        }
    }
    raw.close(bench)?;
    bench.expect(is_refused, "a segment with a blank checksum is not understood")
}

pub(super) fn extra_info<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut raw = Raw::open(bench)?;
    let peer = raw.probe(bench, 0)?;
    if !raw.bus.has_feature("feature-gso-tcpv4")? {
        raw.close(bench)?;
        return Err(Stop::NotApplicable("no large segments are taken".into()));
    }
    let queue = &mut raw.queues[0];
    let frame = frames::tcp_request(peer, raw.mac, 40100);
    let flags = NETTXF_csum_blank | NETTXF_data_validated | NETTXF_extra_info;
    let request = queue.request(0, &frame, flags);
    queue.push(&request)?;
    queue.push(&netif_extra_info {
        r#type: XEN_NETIF_EXTRA_TYPE_GSO,
        flags: 0,
        u: [0xb4, 5, XEN_NETIF_GSO_TYPE_TCPV4, 0, 0, 0],
    })?;
    queue.flush();
    let answers = queue.answers(bench, 2)?;
    let packet = answers
        .iter()
        .filter(|&&(id, status)| id == 0 && status != NETIF_RSP_NULL)
        .count();
    let null = answers.iter().filter(|&&(_, status)| status == NETIF_RSP_NULL).count();
    raw.works(bench)?;
    raw.close(bench)?;
    bench.expect((packet, null) == (1, 1), format!("{answers:?}"))
}

/// Sends one request and expects that it is an error, and that the device goes on.
fn expect_error<H: Hal, S: Store>(bench: &Bench<H, S>, change: impl FnOnce(&mut xen_abi::netif_tx_request)) -> Outcome {
    let mut raw = Raw::open(bench)?;
    raw.works(bench)?;
    let queue = &mut raw.queues[0];
    let mut request = queue.request(1, &[0; 60], 0);
    change(&mut request);
    queue.push(&request)?;
    queue.flush();
    let answers = queue.answers(bench, 1)?;
    raw.works(bench)?;
    raw.close(bench)?;
    bench.expect(answers == [(1, NETIF_RSP_ERROR)], format!("{answers:?}"))
}

pub(super) fn bad_grant<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    expect_error(bench, |request| request.gref = 0xffff_fff0)
}

pub(super) fn too_short<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    expect_error(bench, |request| request.size = 13)
}

pub(super) fn bad_receive_grant<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut raw = Raw::open(bench)?;
    raw.works(bench)?;
    let queue = &mut raw.queues[0];
    // All good pages are used up before the bad one, and come again behind it.
    for _ in 0..3 {
        queue.post_bad();
    }
    queue.flush();
    let peer = raw.probe(bench, 0)?;
    let (mut seen, count) = (0, PAGES as u16 + 8);
    for number in 0..count {
        let queue = &mut raw.queues[0];
        let request = queue.request(0, &echo_request(peer, raw.mac, number, 56), 0);
        queue.push(&request)?;
        queue.flush();
        queue.answers(bench, 1)?;
        seen += usize::from(
            queue
                .receive_where(bench, |frame| echo_answer(frame, number).map(drop))?
                .is_some(),
        );
    }
    raw.close(bench)?;
    // The frames that fell on the three bad pages, and a few that a bridge may lose.
    bench.expect(
        seen + 6 >= usize::from(count),
        format!("{seen} of {count} echoes after three bad pages"),
    )
}

pub(super) fn round_the_ring<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut raw = Raw::open(bench)?;
    let peer = raw.probe(bench, 0)?;
    let (mut seen, count) = (0, 600);
    for number in 0..count {
        let queue = &mut raw.queues[0];
        let request = queue.request(
            usize::from(number) % PAGES,
            &echo_request(peer, raw.mac, number, 100),
            0,
        );
        queue.push(&request)?;
        queue.flush();
        queue.answers(bench, 1)?;
        let answer = queue.receive_where(bench, |frame| echo_answer(frame, number).map(Vec::from))?;
        seen += usize::from(answer.is_some_and(|data| data == echo_data(number, 100)));
    }
    raw.close(bench)?;
    bench.expect(seen + 3 >= usize::from(count), format!("{seen} of {count} echoes"))
}

pub(super) fn full_ring<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut raw = Raw::open(bench)?;
    raw.works(bench)?;
    let request = frames::arp_request(raw.mac);
    let queue = &mut raw.queues[0];
    let count = queue.transmit.free_count() as usize;
    for number in 0..count {
        let request = queue.request(number % PAGES, &request, 0);
        queue.push(&request)?;
    }
    queue.flush();
    let answers = queue.answers(bench, count)?;
    raw.works(bench)?;
    raw.close(bench)?;
    let good = answers.iter().filter(|&&(_, status)| status == NETIF_RSP_OKAY).count();
    bench.expect(good == count, format!("{good} of {count} were taken"))
}
