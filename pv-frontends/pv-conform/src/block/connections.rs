//! How connections are made, refused, and made again.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use pv_blk::SECTOR_SIZE;
use pv_blk::front::{Condition, Error, Frontend, Options};
use pv_blk::negotiation::Transport;
use pv_hal::{Hal, Memory};
use pv_xenbus::Store;

use super::raw::{PATIENCE, Raw, Reply, nap};
use crate::{Bench, Outcome, Stop};

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error.to_string())
    }
}

type Disk<H, S> = Frontend<H, S>;

fn open<H: Hal, S: Store>(bench: &Bench<H, S>, options: Options) -> Result<Disk<H, S>, Stop> {
    let path = bench.device("vbd")?;
    let mut disk = Frontend::new(&bench.hal, bench.store.clone(), &path, options)?;
    disk.set_timeout(Some(PATIENCE));
    disk.connect(Some(bench.hal.now() + PATIENCE))?;
    Ok(disk)
}

fn close<H: Hal, S: Store>(bench: &Bench<H, S>, mut disk: Disk<H, S>) -> Outcome {
    Ok(disk.close(Some(bench.hal.now() + PATIENCE))?)
}

fn options(queues: u32, ring_order: u32, indirect_segments: u32, persistent: bool) -> Options {
    Options {
        transport: Transport {
            queues,
            ring_order,
            indirect_segments,
        },
        persistent,
    }
}

/// Writes and reads several requests' worth of sectors, or what the disk has.
fn use_disk<H: Hal, S: Store>(bench: &Bench<H, S>, disk: &mut Disk<H, S>, seed: u8) -> Outcome {
    let properties = *disk.properties().ok_or(Error::Disconnected)?;
    let sectors = properties.sectors.min(320) as usize;
    let mut bytes: Vec<u8> = (0..sectors * SECTOR_SIZE)
        .map(|at| (at / 3 + at / 512) as u8 ^ seed)
        .collect();
    let written = bytes.clone();
    disk.write_sectors(0, &written)?;
    bytes.fill(0);
    disk.read_sectors(0, &mut bytes)?;
    bench.expect(bytes == written, "what is read is not what was written")
}

pub(super) fn disk_is_described<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let disk = open(bench, options(1, 0, 0, false))?;
    let properties = *disk.properties().ok_or(Error::Disconnected)?;
    bench.expect(properties.sectors > 0, "it has no sectors")?;
    let bytes = properties.sectors * SECTOR_SIZE as u64;
    let physical = u64::from(properties.physical_sector_size);
    bench.expect(
        physical.is_multiple_of(u64::from(properties.sector_size)),
        "the physical sector is no multiple",
    )?;
    bench.expect(
        bytes.is_multiple_of(u64::from(properties.sector_size)),
        "the size is no multiple of the sector",
    )?;
    close(bench, disk)
}

/// Uses the disk with something that may not be offered.
fn use_feature<H: Hal, S: Store>(
    bench: &Bench<H, S>,
    options: Options,
    is_used: impl FnOnce(&Transport) -> bool,
) -> Outcome {
    let mut disk = open(bench, options)?;
    let is_used = is_used(disk.device().transport());
    let result = if is_used {
        use_disk(bench, &mut disk, 1)
    } else {
        Err(Stop::NotApplicable("the backend does not offer it".into()))
    };
    close(bench, disk)?;
    result
}

pub(super) fn without_features<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    use_feature(bench, options(1, 0, 0, false), |_| true)
}

pub(super) fn persistent_grants<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut disk = open(bench, options(1, 0, 0, true))?;
    for seed in 0..4 {
        use_disk(bench, &mut disk, seed)?;
    }
    close(bench, disk)
}

pub(super) fn rings_of_pages<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    use_feature(bench, options(1, 4, 0, false), |transport| transport.ring_order > 0)
}

pub(super) fn several_queues<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    use_feature(bench, options(4, 0, 0, true), |transport| transport.queues > 1)
}

pub(super) fn indirect_requests<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    use_feature(bench, options(1, 0, 256, false), |transport| {
        transport.indirect_segments > 11
    })
}

pub(super) fn everything_at_once<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    use_feature(bench, options(4, 4, 256, true), |_| true)
}

pub(super) fn flushes<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut disk = open(bench, Options::default())?;
    if !disk.properties().is_some_and(|properties| properties.flush) {
        close(bench, disk)?;
        return Err(Stop::NotApplicable("no flushes are offered".into()));
    }
    use_disk(bench, &mut disk, 2)?;
    let result = disk.flush();
    bench.expect(result == Ok(()), format_args!("a flush ends with {result:?}"))?;
    close(bench, disk)
}

pub(super) fn discards<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut disk = open(bench, Options::default())?;
    let Some(discard) = disk.properties().and_then(|properties| properties.discard) else {
        close(bench, disk)?;
        return Err(Stop::NotApplicable("no discards are offered".into()));
    };
    use_disk(bench, &mut disk, 3)?;
    let unit = u64::from(discard.granularity / SECTOR_SIZE as u32).max(1);
    let start = u64::from(discard.alignment) / SECTOR_SIZE as u64;
    let result = disk.discard(start, unit, false);
    // The header: even what is offered may be answered so.
    let is_right = matches!(result, Ok(()) | Err(Error::Unsupported));
    bench.expect(is_right, format_args!("a discard ends with {result:?}"))?;
    use_disk(bench, &mut disk, 4)?;
    close(bench, disk)
}

pub(super) fn reconnects<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    // One disk, opened again and again, each time with other rings.
    let path = bench.device("vbd")?;
    for round in 0..6u32 {
        let options = options(1 + round % 3 * 2, round % 3, 64 * (round % 2), round % 2 == 0);
        let mut disk = Frontend::new(&bench.hal, bench.store.clone(), &path, options)?;
        disk.set_timeout(Some(PATIENCE));
        for _ in 0..2 {
            disk.connect(Some(bench.hal.now() + PATIENCE))?;
            use_disk(bench, &mut disk, round as u8)?;
            disk.close(Some(bench.hal.now() + PATIENCE))?;
        }
    }
    Ok(())
}

pub(super) fn driver_is_replaced<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    // A kernel that dies does not close its devices; the next one finds a backend that is still connected.
    let mut first = open(bench, Options::default())?;
    use_disk(bench, &mut first, 5)?;
    drop(first);
    let mut second = open(bench, options(2, 1, 32, false))?;
    use_disk(bench, &mut second, 6)?;
    close(bench, second)
}

pub(super) fn ring_is_suspended<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut disk = open(bench, options(1, 0, 0, true))?;
    use_disk(bench, &mut disk, 7)?;
    let mut tokens = Vec::new();
    for sector in 0..16u64 {
        let buffer = disk.device().buffer(8)?;
        buffer.fill(0, 4096, sector as u8 + 1);
        let request = disk.device().write(sector * 8, 8, buffer);
        tokens.push(request.map_err(|refused| refused.error)?);
    }
    disk.device().publish();
    // The rings go with the requests in them; new ones come, and the requests are made again.
    disk.reconnect(Some(bench.hal.now() + PATIENCE))?;
    while !tokens.is_empty() {
        let completion = disk.wait(Some(bench.hal.now() + PATIENCE))?;
        let completion = completion.ok_or_else(|| Stop::Failed("a request is lost".into()))?;
        bench.expect(
            completion.result == Ok(()),
            format_args!("a request ends with {:?}", completion.result),
        )?;
        tokens.retain(|token| *token != completion.token);
    }
    let mut bytes = alloc::vec![0; 16 * 4096];
    disk.read_sectors(0, &mut bytes)?;
    let is_right = bytes
        .chunks(4096)
        .zip(1u8..)
        .all(|(page, value)| page.iter().all(|byte| *byte == value));
    bench.expect(is_right, "a write is lost")?;
    close(bench, disk)
}

/// Publishes a connection that the backend must not take up, and then a good one.
fn expect_refused<H: Hal, S: Store>(bench: &Bench<H, S>, changes: &[(&'static str, String)]) -> Outcome {
    for (name, value) in changes {
        let mut raw = Raw::prepare(bench)?;
        let mut nodes = raw.nodes();
        nodes.retain(|(node, _)| node != name);
        nodes.push((name, value.clone()));
        let reply = raw.publish(bench, &nodes)?;
        bench.expect(reply == Reply::Refused, format_args!("{name}={value}: {reply:?}"))?;
        drop(raw);
        let mut raw = Raw::open(bench)?;
        raw.expect_service(bench)?;
        raw.close(bench)?;
    }
    Ok(())
}

pub(super) fn bad_ring_pages<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let change = |value: &str| ("ring-ref", value.to_string());
    expect_refused(bench, &[change("2147483632"), change("nonsense")])
}

pub(super) fn bad_ports<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let change = |value: &str| ("event-channel", value.to_string());
    expect_refused(bench, &[change("4000"), change("nonsense")])
}

pub(super) fn more_than_offered<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let queues = ("multi-queue-num-queues", "1000".to_string());
    let none = ("multi-queue-num-queues", "0".to_string());
    let pages = ("ring-page-order", "20".to_string());
    expect_refused(bench, &[queues, none, pages])
}

pub(super) fn unknown_layout<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    expect_refused(bench, &[("protocol", "sparc-abi".to_string())])
}

pub(super) fn unplugged_under_load<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let path = bench.device("vbd")?;
    let number = path.rsplit('/').next().unwrap_or_default();
    let mut disk = open(bench, Options::default())?;
    for sector in 0..32u64 {
        let buffer = disk.device().buffer(88)?;
        let request = disk.device().read(sector, 88, buffer);
        request.map_err(|refused| refused.error)?;
    }
    disk.device().publish();
    bench.ask(&format!("block-detach {number}"))?;
    let mut ended = 0;
    bench.wait_for("end of the device", PATIENCE, || {
        while let Some(completion) = disk.device().poll_completion() {
            let is_right = matches!(completion.result, Ok(()) | Err(Error::Disconnected));
            bench.expect(is_right, format_args!("a request ends with {:?}", completion.result))?;
            ended += 1;
        }
        Ok((disk.poll_bus()? == Condition::Closed && ended == 32).then_some(()))
    })?;
    drop(disk);
    bench.ask(&format!("block-attach {number}"))?;
    bench.wait_for("device", PATIENCE, || Ok(bench.device("vbd").is_ok().then_some(())))?;
    let mut disk = open(bench, Options::default())?;
    use_disk(bench, &mut disk, 8)?;
    close(bench, disk)
}

pub(super) fn backend_dies_in_mid_request<H: Hal, S: Store>(bench: &Bench<H, S>) -> Outcome {
    let mut disk = open(bench, Options::default())?;
    let mut left = 0;
    for sector in 0..32u64 {
        let buffer = disk.device().buffer(88)?;
        let request = disk.device().read(sector, 88, buffer);
        request.map_err(|refused| refused.error)?;
        left += 1;
    }
    disk.device().publish();
    bench.ask("backend-kill vbd")?;
    // Whoever takes over answers, or the device closes; nothing is left hanging.
    let end = bench.hal.now() + Duration::from_secs(60);
    while left > 0 {
        match disk.wait(Some(end))? {
            Some(_) => left -= 1,
            None => return bench.expect(false, format_args!("{left} requests are never answered")),
        }
    }
    bench.expect(left == 0, "a request was answered twice")?;
    for _ in 0..10 {
        nap(bench);
    }
    disk.connect(Some(bench.hal.now() + PATIENCE))?;
    use_disk(bench, &mut disk, 9)?;
    close(bench, disk)
}
