//! The ring itself, beneath the store's client, which is idle meanwhile.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use core::time::Duration;

use pv_hal::{Hal, Memory, Port};
use pv_ring::bytes::Layout;
use pv_xenbus::{Kind, Store};
use xenstore_proto::{Header, append_message, ring, split_message};

use super::{ROOT, clear};
use crate::{Bench, Outcome, Stop};

/// Time for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Numbers of our requests, far from those of the client.
const NUMBER: u32 = 0xc0de_0000;

/// The ring's page and port.
struct Raw<M> {
    page: M,
    port: Port,
}

impl<M: Memory> Raw<M> {
    /// Sends bytes, as far as the ring goes.
    fn send(&self, hal: &impl Hal, bytes: &[u8]) -> Result<(), Stop> {
        let sent = Layout::STORE_REQUESTS.put(&self.page, bytes);
        hal.notify(self.port);
        match sent {
            Ok(count) if count == bytes.len() => Ok(()),
            other => Err(Stop::Failed(format!(
                "the ring takes {other:?} of {} bytes",
                bytes.len()
            ))),
        }
    }

    /// Waits for `count` answers.
    fn receive<H: Hal, S: Store>(&self, bench: &Bench<H, S>, count: usize) -> Result<Vec<(Header, Vec<u8>)>, Stop> {
        let (mut stream, mut answers) = (Vec::new(), Vec::new());
        bench.wait_for(format_args!("{count} answers"), PATIENCE, || {
            let mut bytes = vec![0; 1024];
            let taken = Layout::STORE_REPLIES.take(&self.page, &mut bytes);
            let taken = taken.map_err(|broken| Stop::Failed(format!("{broken}")))?;
            stream.extend_from_slice(&bytes[..taken]);
            if taken > 0 {
                bench.hal.notify(self.port);
            }
            while let Ok(Some((header, payload))) = split_message(&stream) {
                answers.push((header, payload.to_vec()));
                stream.drain(..Header::SIZE + header.length as usize);
            }
            Ok((answers.len() >= count).then_some(()))
        })?;
        Ok(answers)
    }

    /// Waits until the daemon has stopped to serve the ring, and has it begin anew.
    fn begin_anew<H: Hal, S: Store>(&self, bench: &Bench<H, S>, expected: u32) -> Outcome {
        let error = bench.wait_for("error of the ring", PATIENCE, || {
            let error = self.page.load_u32(ring::ERROR, Ordering::Acquire);
            Ok((error != 0).then_some(error))
        });
        bench.store.reconnect()?;
        let error = error?;
        bench.expect(error == expected, format_args!("the error is {error}"))?;
        bench.store.write(&super::below("again"), 1)?;
        bench.expect(
            bench.store.read(&super::below("again"))? == "1",
            "the new connection does not serve",
        )
    }
}

/// The ring, with nothing under way.
fn raw<H: Hal, S: Store>(bench: &Bench<H, S>) -> Result<Raw<H::Pages>, Stop> {
    // Answers come in order: behind this one, nothing is on its way.
    clear(bench)?;
    let (page, port) = bench
        .hal
        .store_ring()
        .ok_or_else(|| Stop::NotApplicable("no ring".into()))?;
    Ok(Raw { page, port })
}

/// The ring, where the daemon says why it stops and can begin anew.
fn raw_with_features<H: Hal, S: Store>(bench: &Bench<H, S>) -> Result<Raw<H::Pages>, Stop> {
    let raw = raw(bench)?;
    let features = raw.page.load_u32(ring::SERVER_FEATURES, Ordering::Acquire);
    let needed = ring::FEATURE_RECONNECTION | ring::FEATURE_ERROR;
    if features & needed == needed {
        Ok(raw)
    } else {
        Err(Stop::NotApplicable(format!("the daemon's features are {features}")))
    }
}

pub(super) fn comes_in_pieces<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let raw = raw(bench)?;
    let mut message = Vec::new();
    append_message(&mut message, Kind::READ, NUMBER, 0, format!("{ROOT}\0").as_bytes());
    for byte in message.chunks(1) {
        raw.send(&bench.hal, byte)?;
        bench.hal.wait(&[], Some(bench.hal.now() + Duration::from_millis(1)));
    }
    let answers = raw.receive(bench, 1)?;
    let (header, payload) = &answers[0];
    let fits = (header.kind, header.request, header.transaction) == (Kind::READ, NUMBER, 0);
    bench.expect(
        fits && payload.is_empty(),
        format_args!("the answer is {header:?} {payload:?}"),
    )
}

pub(super) fn many_at_once<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let raw = raw(bench)?;
    // As many as the ring holds; a daemon may stop to read until we have read some answers.
    const COUNT: u32 = 24;
    let mut messages = Vec::new();
    for number in 0..COUNT {
        let kind = if number % 3 == 2 {
            Kind(1000 + number)
        } else {
            Kind::READ
        };
        append_message(&mut messages, kind, NUMBER + number, 0, format!("{ROOT}\0").as_bytes());
    }
    raw.send(&bench.hal, &messages)?;
    let answers = raw.receive(bench, COUNT as usize)?;
    for (number, (header, payload)) in (0..).zip(&answers) {
        let kind = if number % 3 == 2 { Kind::ERROR } else { Kind::READ };
        let fits = (header.kind, header.request) == (kind, NUMBER + number);
        bench.expect(fits, format_args!("answer {number} is {header:?} {payload:?}"))?;
    }
    Ok(())
}

pub(super) fn index_lies<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    for lie in [1025, 1 << 31] {
        let raw = raw_with_features(bench)?;
        let consumer = raw.page.load_u32(ring::REQUEST_CONSUMER, Ordering::Acquire);
        let lie = consumer.wrapping_add(lie);
        raw.page.store_u32(ring::REQUEST_PRODUCER, lie, Ordering::Release);
        bench.hal.notify(raw.port);
        raw.begin_anew(bench, ring::Fault::Index as u32)?;
    }
    Ok(())
}

pub(super) fn oversized_message<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    for length in [4097, u32::MAX] {
        let raw = raw_with_features(bench)?;
        let header = Header {
            kind: Kind::READ,
            request: NUMBER,
            transaction: 0,
            length,
        };
        raw.send(&bench.hal, &header.encode())?;
        raw.begin_anew(bench, ring::Fault::Protocol as u32)?;
    }
    Ok(())
}
