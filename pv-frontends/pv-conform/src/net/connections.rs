//! Cases about connecting, closing, and frontends that break the rules.

use alloc::format;
use alloc::string::String;
use core::sync::atomic::Ordering;

use pv_hal::{Hal, Memory};
use pv_net::front::{Config, Front};
use pv_net::{Features, Interface, Meta, Status};
use pv_xenbus::{State, Store};
use xen_abi::{NETTXF_extra_info, NETTXF_more_data, netif_extra_info};

use super::frames;
use super::raw::{PATIENCE, Queue, Raw, Reply, nap};
use crate::{Bench, Outcome, Stop};

pub(super) fn offers<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let raw = Raw::open(bench)?;
    let copies = raw.bus.has_feature("feature-rx-copy")?;
    let mut odd = None;
    for key in [
        "feature-sg",
        "feature-gso-tcpv4",
        "feature-gso-tcpv6",
        "feature-split-event-channels",
    ] {
        let value: Option<String> = raw.bus.backend_value(key)?;
        if value.as_deref().is_some_and(|value| !["0", "1"].contains(&value)) {
            odd = Some(key);
        }
    }
    raw.close(bench)?;
    bench.expect(
        copies && odd.is_none(),
        format!("feature-rx-copy {copies}, neither 0 nor 1: {odd:?}"),
    )
}

pub(super) fn connects<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut raw = Raw::open(bench)?;
    raw.works(bench)?;
    let state: Option<String> = raw.bus.backend_value("state")?;
    raw.close(bench)?;
    bench.expect(
        state.as_deref() == Some("4"),
        format!("the backend's state is {state:?}"),
    )
}

pub(super) fn reconnects<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut raw = Raw::open(bench)?;
    for _ in 0..3 {
        raw.works(bench)?;
        raw = raw.reopen(bench)?;
    }
    let works = raw.works(bench);
    raw.close(bench)?;
    bench.expect(works.is_ok(), "the fourth connection does not work")
}

pub(super) fn lets_go<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut raw = Raw::open(bench)?;
    raw.works(bench)?;
    let is_free = raw.close(bench)?;
    bench.expect(is_free, "the closed backend still holds pages")
}

pub(super) fn closes_in_mid_request<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut raw = Raw::open(bench)?;
    raw.works(bench)?;
    let frame = frames::arp_request(raw.mac);
    let queue = &mut raw.queues[0];
    for page in 0..16 {
        let request = queue.request(page, &frame, 0);
        queue.push(&request)?;
    }
    queue.flush();
    let mut raw = raw.reopen(bench)?;
    let works = raw.works(bench);
    raw.close(bench)?;
    bench.expect(works.is_ok(), "the next connection does not work")
}

pub(super) fn split_channels<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut raw = Raw::prepare(bench, 1, true)?;
    bench.wait_for("offer", PATIENCE, || {
        Ok((raw.bus.poll()? == pv_xenbus::frontend::Step::Publish).then_some(()))
    })?;
    if !raw.bus.has_feature("feature-split-event-channels")? {
        return Err(Stop::NotApplicable("one event channel alone is served".into()));
    }
    let nodes = raw.nodes();
    let reply = raw.publish(bench, &nodes)?;
    raw.works(bench)?;
    raw.close(bench)?;
    bench.expect(reply == Reply::Connected, "refused")
}

/// Queues that the backend serves.
fn most_queues<H: Hal, S: Store>(raw: &mut Raw<H, S>, bench: &Bench<H, S>) -> Result<usize, Stop> {
    bench.wait_for("offer", PATIENCE, || {
        Ok((raw.bus.poll()? == pv_xenbus::frontend::Step::Publish).then_some(()))
    })?;
    let most = raw.bus.backend_value("multi-queue-max-queues")?;
    most.ok_or_else(|| Stop::NotApplicable("one queue alone is served".into()))
}

pub(super) fn several_queues<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut raw = Raw::prepare(bench, 2, false)?;
    if most_queues(&mut raw, bench)? < 2 {
        return Err(Stop::NotApplicable("one queue alone is served".into()));
    }
    let nodes = raw.nodes();
    let reply = raw.publish(bench, &nodes)?;
    if reply != Reply::Connected {
        return Err(Stop::Failed("two queues are refused".into()));
    }
    // Answers come by any queue: both requests must be taken, and some answer come.
    let request = frames::arp_request(raw.mac);
    let mut answered = false;
    for attempt in 0..6 {
        let sender = attempt % 2;
        let slot = raw.queues[sender].request(0, &request, 0);
        raw.queues[sender].push(&slot)?;
        raw.queues[sender].flush();
        raw.queues[sender].answers(bench, 1)?;
        for queue in &mut raw.queues {
            answered |= queue.receive_where(bench, frames::arp_answer)?.is_some();
        }
    }
    raw.close(bench)?;
    bench.expect(answered, "no answer comes by either queue")
}

/// A connection with these nodes in the place of the simple ones is refused, and a simple one works after that.
fn refuses<H: Hal, S: Store>(bench: &Bench<H, S>, key: &str, value: &str) -> Outcome {
    let mut raw = Raw::prepare(bench, 1, false)?;
    let mut nodes = raw.nodes();
    nodes.retain(|(name, _)| name != key);
    nodes.push((key.into(), value.into()));
    // Linux's netback says why it refuses, and calls itself connected all the same; then it serves nothing.
    let is_taken = raw.publish(bench, &nodes)? == Reply::Connected && raw.is_served(bench)?;
    drop(raw);
    // Whatever state the refusal has led to, a frontend that begins anew gets out of it.
    let path = bench.device("vif")?;
    bench.store.write(&format!("{path}/state"), State::Closed)?;
    bench.wait_for("closed backend", PATIENCE, || {
        let backend = bench.store.read(&format!("{path}/backend"))?;
        let state = bench.store.read_optional(&format!("{backend}/state"))?;
        Ok(matches!(state.as_deref(), Some("6" | "2")).then_some(()))
    })?;
    bench.store.write(&format!("{path}/state"), State::Initialising)?;
    let mut raw = Raw::open(bench)?;
    let works = raw.works(bench);
    raw.close(bench)?;
    works?;
    bench.expect(!is_taken, format!("{key} = {value} is taken"))
}

pub(super) fn too_many_queues<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut raw = Raw::prepare(bench, 1, false)?;
    most_queues(&mut raw, bench)?;
    drop(raw);
    refuses(bench, "multi-queue-num-queues", "4000")
}

pub(super) fn no_queues<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut raw = Raw::prepare(bench, 1, false)?;
    most_queues(&mut raw, bench)?;
    drop(raw);
    refuses(bench, "multi-queue-num-queues", "0")
}

pub(super) fn bad_ring<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    refuses(bench, "tx-ring-ref", "4294967280")
}

pub(super) fn bad_port<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    refuses(bench, "event-channel", "4000")
}

pub(super) fn resumes<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut raw = Raw::open(bench)?;
    raw.works(bench)?;
    // As after a resumption elsewhere: the rings are gone, and the state is the first one, without a word before.
    raw.queues.clear();
    raw.bus.resume()?;
    drop(raw);
    let mut raw = Raw::open(bench)?;
    let works = raw.works(bench);
    raw.close(bench)?;
    bench.expect(works.is_ok(), "the resumed device does not work")
}

/// Takes the device away and brings it back.
fn replace_device<H: Hal, S: Store>(bench: &Bench<H, S>, raw: Option<Raw<H, S>>) -> Outcome {
    let path = bench.device("vif")?;
    let number = path.rsplit('/').next().map_or(String::from("0"), String::from);
    bench.ask(&format!("network-detach {number}"))?;
    if let Some(raw) = raw {
        raw.close(bench)?;
    }
    bench.wait_for("end of the device", PATIENCE, || {
        let backend = bench.store.read_optional(&format!("{path}/backend"))?;
        let state = match backend {
            None => None,
            Some(backend) => bench.store.read_optional(&format!("{backend}/state"))?,
        };
        Ok(matches!(state.as_deref(), None | Some("6")).then_some(()))
    })?;
    // A toolstack may still be busy with what it has taken away.
    let attach = || bench.ask(&format!("network-attach {number}"));
    attach().or_else(|_| attach())?;
    bench.wait_for("device", PATIENCE, || {
        let state = bench.store.read_optional(&format!("{path}/state"))?;
        Ok((state.as_deref() == Some("1")).then_some(()))
    })
}

pub(super) fn unplugs_under_load<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut raw = Raw::open(bench)?;
    raw.works(bench)?;
    let frame = frames::arp_request(raw.mac);
    let queue = &mut raw.queues[0];
    for page in 0..32 {
        let request = queue.request(page, &frame, 0);
        queue.push(&request)?;
    }
    queue.flush();
    replace_device(bench, Some(raw))?;
    let mut raw = Raw::open(bench)?;
    let works = raw.works(bench);
    raw.close(bench)?;
    bench.expect(works.is_ok(), "the device that was plugged in again does not work")
}

pub(super) fn backend_dies<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut raw = Raw::open(bench)?;
    raw.works(bench)?;
    if let Err(stop) = bench.ask("backend-kill vif") {
        raw.close(bench)?;
        return Err(stop);
    }
    // A new backend takes up the rings where they are, or offers the device again.
    let is_adopted = |raw: &Raw<H, S>| -> Result<bool, Stop> {
        let state: Option<String> = raw.bus.backend_value("state")?;
        Ok(state.as_deref() == Some("4"))
    };
    for _ in 0..100 {
        nap(bench);
    }
    if is_adopted(&raw)? && raw.works(bench).is_ok() {
        raw.close(bench)?;
        return bench.expect(true, "");
    }
    bench.wait_for("state of a new backend", PATIENCE, || {
        Ok((!is_adopted(&raw)?).then_some(()))
    })?;
    raw.queues.clear();
    raw.bus.resume()?;
    drop(raw);
    let mut raw = Raw::open(bench)?;
    let works = raw.works(bench);
    raw.close(bench)?;
    bench.expect(works.is_ok(), "the device does not work under the new backend")
}

/// A ring that has no meaning may cost the device; a new one works, and so does everything beside it.
fn survives<H: Hal, S: Store>(bench: &Bench<H, S>, attack: impl FnOnce(&mut Queue<H>) -> Result<(), Stop>) -> Outcome {
    let mut raw = Raw::open(bench)?;
    raw.works(bench)?;
    attack(&mut raw.queues[0])?;
    let queue = &raw.queues[0];
    for _ in 0..10 {
        queue.notify();
        nap(bench);
    }
    replace_device(bench, Some(raw))?;
    let mut raw = Raw::open(bench)?;
    let works = raw.works(bench);
    raw.close(bench)?;
    bench.expect(works.is_ok(), "a new device does not work")
}

pub(super) fn survives_overflow<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    survives(bench, |queue| {
        queue.transmit.memory().store_u32(0, 0x4000_0000, Ordering::SeqCst);
        Ok(())
    })
}

pub(super) fn survives_unfinished_packet<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    survives(bench, |queue| {
        let request = queue.request(0, &[0; 60], NETTXF_more_data);
        queue.push(&request)?;
        queue.flush();
        Ok(())
    })
}

pub(super) fn survives_page_crossing<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    survives(bench, |queue| {
        let mut request = queue.request(0, &[0; 100], 0);
        request.offset = 4090;
        queue.push(&request)?;
        queue.flush();
        Ok(())
    })
}

pub(super) fn survives_bad_extra<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    survives(bench, |queue| {
        let request = queue.request(0, &[0; 100], NETTXF_extra_info);
        queue.push(&request)?;
        queue.push(&netif_extra_info {
            r#type: 0xee,
            flags: 0,
            u: [0xff; 6],
        })?;
        queue.flush();
        Ok(())
    })
}

pub(super) fn survives_receive_overflow<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    survives(bench, |queue| {
        queue.receive.memory().store_u32(0, 0x4000_0000, Ordering::SeqCst);
        Ok(())
    })
}

/// Our own frontend: connects with `config`, has an echo answered, closes.
fn front_with<H: Hal, S: Store>(bench: &Bench<H, S>, config: Config) -> Outcome {
    let mut front = Front::new(&bench.hal, bench.store.clone(), &bench.device("vif")?, config)?;
    let end = bench.hal.now() + PATIENCE;
    if !front.wait_until_up(Some(end))? {
        return Err(Stop::Failed("it does not come up".into()));
    }
    let mut buffer = alloc::vec![0; pv_net::MAX_FRAME];
    let mut answer = None;
    for _ in 0..10 {
        front.send(&frames::arp_request(front.mac()), Meta::default())?;
        let deadline = bench.hal.now() + core::time::Duration::from_secs(2);
        while answer.is_none() && bench.hal.now() < deadline {
            let received = front.receive(&mut buffer, Some(deadline))?;
            answer = received.and_then(|received| frames::arp_answer(&buffer[..received.len]));
        }
    }
    front.close();
    while front.poll()? != Status::Closed {
        if bench.hal.now() >= end {
            return Err(Stop::Failed("it does not close".into()));
        }
        front.wait(false, Some(bench.hal.now() + core::time::Duration::from_millis(50)));
    }
    bench.expect(answer.is_some(), "nobody beyond the backend answers")
}

pub(super) fn front_plain<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    front_with(
        bench,
        Config {
            features: Features::NONE,
            split_channels: false,
            ..Config::default()
        },
    )
}

pub(super) fn front_full<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    front_with(
        bench,
        Config {
            queues: 2,
            ..Config::default()
        },
    )
}
