//! Requests of a Linux guest's to its disk and its network, for the benchmarks: `--disk-requests DEVICE COUNT` and
//! `--echo-requests ADDRESS COUNT` print `BENCH KIND nanoseconds` for one request of each kind. The kinds are those of
//! `pv-frontends/guests/blk` and `net`, which do the same over the frontends in Rust.

use std::io::Error;
use std::time::Instant;

use crate::aio::{Disk, SECTOR};
use crate::icmp::Echoes;

type Answer<T> = Result<T, String>;

/// Sectors of a disk request, and how many requests are under way.
const DISK: [(usize, usize); 4] = [(1, 1), (8, 1), (8, 32), (88, 16)];
/// Bytes of an echo request's data, and how many are under way: Linux's netback queues 32 frames and drops the next.
const NET: [(usize, usize); 4] = [(56, 1), (1400, 1), (56, 16), (1400, 16)];
/// Measurements of which the shortest counts.
const BATCHES: u32 = 3;

/// The error of the last system call.
pub(crate) fn failed(what: &str) -> String {
    format!("{what}: {}", Error::last_os_error())
}

/// The shortest of several runs of `count` requests, after one that is not counted, for each request.
fn shortest(count: u32, mut run: impl FnMut(u32) -> Answer<()>) -> Answer<u64> {
    run(count / 4)?;
    let mut least = u128::MAX;
    for _ in 0..BATCHES {
        let begun = Instant::now();
        run(count)?;
        least = least.min(begun.elapsed().as_nanos());
    }
    Ok(u64::try_from(least).unwrap_or(u64::MAX) / u64::from(count.max(1)))
}

fn number(text: &str) -> Answer<u32> {
    text.parse().map_err(|_| format!("`{text}` is no number of requests"))
}

/// Reads and writes without the page cache.
pub(crate) fn disk(device: &str, count: &str) -> Answer<()> {
    let count = number(count)?;
    for (kind, is_write) in [("read", false), ("write", true)] {
        for (sectors, depth) in DISK {
            let mut disk = Disk::open(device, sectors * SECTOR, depth)?;
            let each = shortest(count, |count| disk.run(is_write, count))?;
            println!("BENCH disk_{kind}_{}_{depth} {each}", sectors * SECTOR);
        }
    }
    Ok(())
}

/// Echo requests and their answers.
pub(crate) fn net(address: &str, count: &str) -> Answer<()> {
    let count = number(count)?;
    for (bytes, depth) in NET {
        let mut echoes = Echoes::to(address, bytes, depth)?;
        let each = shortest(count, |count| echoes.run(count))?;
        println!("BENCH echo_{bytes}_{depth} {each}");
    }
    Ok(())
}
