//! Uses a disk as hard as it can: writes it full of numbers, reads them back and compares, prints a checksum that the
//! other side compares with its file, and tells how many requests and bytes went through.
//!
//! Words: `queues=N`, `order=N` (pages of ring), `segments=N` (0: no indirect requests), `grants=once` (a grant for each
//! request), `read-only` (writes nothing), `requests=N` (of each measurement), `bench` (nothing but requests, told as
//! `BENCH KIND nanoseconds`, as `dom0-load --disk-requests` tells those of a Linux guest).
#![no_std]
#![no_main]
extern crate alloc;

mod load;

use core::time::Duration;

use guest_rt::{Machine, option, println, words};
use md5::{Digest, Md5};
use pv_blk::SECTOR_SIZE;
use pv_blk::front::{Error, Frontend, Options};
use pv_blk::negotiation::Transport;
use pv_hal::Hal;
use pv_xenbus::RingStore;

guest_rt::main!(main);

type Disk = Frontend<Machine, RingStore<Machine>>;

/// Time for the backend to appear.
const PATIENCE: Duration = Duration::from_secs(30);
/// Sectors that are checked at a time: 512 KiB.
const STRETCH: usize = 1024;

fn number(name: &str, default: u32) -> u32 {
    option(name).and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn options() -> Options {
    Options {
        transport: Transport {
            queues: number("queues", 1),
            ring_order: number("order", 2),
            indirect_segments: number("segments", 256),
        },
        persistent: option("grants") != Some("once"),
    }
}

fn main() -> Result<(), Error> {
    let machine = Machine;
    let store = RingStore::new(&machine)?;
    let paths = Disk::list(&store)?;
    let path = paths.first().ok_or(Error::Disconnected)?;
    let mut disk = Frontend::new(&machine, store, path, options())?;
    let properties = disk.connect(Some(machine.now() + PATIENCE))?;
    let transport = *disk.device().transport();
    println!(
        "{path}: {} sectors, flush {}, persistent grants {}",
        properties.sectors, properties.flush, properties.persistent
    );
    println!("{transport:?}, discard {:?}", properties.discard);

    let is_writable = !properties.read_only && !words().any(|word| word == "read-only");
    if words().any(|word| word == "bench") {
        bench(&mut disk)?;
        return disk.close(Some(machine.now() + PATIENCE));
    }
    if is_writable {
        fill(&mut disk, properties.sectors)?;
        disk.flush()?;
    }
    let sum = check(&mut disk, properties.sectors, is_writable)?;
    measure(&mut disk, is_writable)?;
    println!("guest: disk md5 {sum:x}");
    disk.close(Some(machine.now() + PATIENCE))
}

/// What is written at a sector: words that tell where they are, so that no two sectors are the same.
fn pattern(sector: u64, bytes: &mut [u8]) {
    let mut word = sector.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for chunk in bytes.chunks_exact_mut(8) {
        // Xorshift: cheap, and every word differs from its neighbours.
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        chunk.copy_from_slice(&word.to_le_bytes());
    }
}

/// Stretches of the disk: first sector and length in sectors.
fn stretches(sectors: u64) -> impl Iterator<Item = (u64, usize)> {
    let starts = (0..sectors).step_by(STRETCH);
    starts.map(move |start| (start, (sectors - start).min(STRETCH as u64) as usize))
}

fn fill(disk: &mut Disk, sectors: u64) -> Result<(), Error> {
    let mut bytes = alloc::vec![0; STRETCH * SECTOR_SIZE];
    let mut spent = Duration::ZERO;
    for (start, count) in stretches(sectors) {
        let bytes = &mut bytes[..count * SECTOR_SIZE];
        for (sector, chunk) in (start..).zip(bytes.chunks_exact_mut(SECTOR_SIZE)) {
            pattern(sector, chunk);
        }
        let begun = Machine.now();
        disk.write_sectors(start, bytes)?;
        spent += Machine.now() - begun;
    }
    tell("written", sectors, spent);
    Ok(())
}

/// Reads the whole disk: its checksum. With `is_ours`, every byte must be what was written.
fn check(disk: &mut Disk, sectors: u64, is_ours: bool) -> Result<md5::digest::Output<Md5>, Error> {
    let mut bytes = alloc::vec![0; STRETCH * SECTOR_SIZE];
    let mut expected = [0; SECTOR_SIZE];
    let mut sum = Md5::new();
    let mut spent = Duration::ZERO;
    for (start, count) in stretches(sectors) {
        let bytes = &mut bytes[..count * SECTOR_SIZE];
        let begun = Machine.now();
        disk.read_sectors(start, bytes)?;
        spent += Machine.now() - begun;
        sum.update(&*bytes);
        for (sector, chunk) in (start..).zip(bytes.chunks_exact(SECTOR_SIZE)).filter(|_| is_ours) {
            pattern(sector, &mut expected);
            if chunk != expected {
                println!("sector {sector} is not what was written");
                return Err(Error::Failed);
            }
        }
    }
    tell("read", sectors, spent);
    Ok(sum.finalize())
}

fn tell(what: &str, sectors: u64, spent: Duration) {
    let kib = sectors / 2;
    let rate = u128::from(kib) * 1_000_000 / spent.as_micros().max(1);
    println!("{kib} KiB {what} in {} ms: {} MiB/s", spent.as_millis(), rate / 1024);
}

/// Sectors of a request, and how many are under way.
const KINDS: [(u32, u32); 4] = [(1, 1), (8, 1), (8, 32), (88, 16)];
/// Measurements of which the shortest counts.
const BATCHES: u32 = 3;

/// The shortest of several measurements of each kind, after one that is not counted.
fn bench(disk: &mut Disk) -> Result<(), Error> {
    let requests = number("requests", 2000);
    for (kind, write) in [("read", false), ("write", true)] {
        for (sectors, depth) in KINDS {
            let load = load::Load {
                write,
                sectors,
                depth,
                requests,
            };
            load.run(disk)?;
            let mut least = Duration::MAX;
            for _ in 0..BATCHES {
                least = least.min(load.run(disk)?.spent);
            }
            let each = least.as_nanos() / u128::from(requests.max(1));
            println!("BENCH disk_{kind}_{}_{depth} {each}", sectors as usize * SECTOR_SIZE);
        }
    }
    Ok(())
}

/// Requests of each kind, one at a time and many at a time.
fn measure(disk: &mut Disk, is_writable: bool) -> Result<(), Error> {
    let requests = number("requests", 2000);
    let kinds: &[bool] = if is_writable { &[false, true] } else { &[false] };
    for &write in kinds {
        for (sectors, depth) in KINDS {
            let load = load::Load {
                write,
                sectors,
                depth,
                requests,
            };
            let result = load.run(disk)?;
            println!(
                "{} of {:>5} bytes, {depth:>2} at a time: {} ns each, {} events",
                if write { "write" } else { "read " },
                sectors as usize * SECTOR_SIZE,
                result.spent.as_nanos() / u128::from(requests),
                result.waits,
            );
        }
    }
    Ok(())
}
