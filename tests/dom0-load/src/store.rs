//! Requests to xenstored over its socket, for the benchmarks: `--store PID NODES` makes so many nodes and measures the
//! daemon whose process is PID. Prints `BENCH store_KIND_NODES value`: nanoseconds of the daemon's CPU time a request,
//! and for `store_KIND_piped_NODES` requests a second with many under way.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

type Answer<T> = Result<T, String>;

const SOCKET: &str = "/run/xenstored/socket";
const READ: u32 = 2;
const WATCH: u32 = 4;
const UNWATCH: u32 = 5;
const TRANSACTION_START: u32 = 6;
const TRANSACTION_END: u32 = 7;
const WRITE: u32 = 11;
const RM: u32 = 13;
const WATCH_EVENT: u32 = 15;
const ERROR: u32 = 16;

/// Requests of one measurement.
const ROUNDS: u32 = 2000;
/// Requests that are under way at once where they are piped.
const DEPTH: u32 = 32;
/// Children of one folder.
const FOLDER: u32 = 100;

struct Store {
    stream: UnixStream,
    received: Vec<u8>,
}

impl Store {
    fn open() -> Answer<Self> {
        let stream = UnixStream::connect(SOCKET).map_err(|error| format!("{SOCKET}: {error}"))?;
        Ok(Self {
            stream,
            received: Vec::new(),
        })
    }

    fn send(&mut self, kind: u32, transaction: u32, payload: &[u8]) -> Answer<()> {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let mut message: Vec<u8> = [kind, 0, transaction, length]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        message.extend_from_slice(payload);
        self.stream
            .write_all(&message)
            .map_err(|error| format!("send: {error}"))
    }

    /// The next answer's payload; events of watches are passed over.
    fn receive(&mut self) -> Answer<Vec<u8>> {
        loop {
            let word = |at: usize| {
                let bytes = self.received.get(at..at + 4)?;
                Some(u32::from_le_bytes(bytes.try_into().ok()?))
            };
            let complete = word(12)
                .map(|length| 16 + length as usize)
                .filter(|&end| end <= self.received.len());
            if let (Some(end), Some(kind)) = (complete, word(0)) {
                let payload = self.received[16..end].to_vec();
                self.received.drain(..end);
                match kind {
                    WATCH_EVENT => continue,
                    ERROR => return Err(format!("xenstored says {}", String::from_utf8_lossy(&payload))),
                    _ => return Ok(payload),
                }
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err("xenstored hung up".to_owned()),
                Ok(count) => self.received.extend_from_slice(&chunk[..count]),
                Err(error) => return Err(format!("receive: {error}")),
            }
        }
    }

    fn ask(&mut self, kind: u32, transaction: u32, payload: &[u8]) -> Answer<Vec<u8>> {
        self.send(kind, transaction, payload)?;
        self.receive()
    }
}

fn path(number: u32) -> String {
    format!("/bench/{}/{}", number / FOLDER, number % FOLDER)
}

fn named(number: u32, value: &str) -> Vec<u8> {
    format!("{}\0{value}", path(number)).into_bytes()
}

/// Nanoseconds that a process has been on a CPU.
fn cpu_time(pid: &str) -> Answer<u64> {
    let file = format!("/proc/{pid}/schedstat");
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
    text.split_whitespace()
        .next()
        .and_then(|word| word.parse().ok())
        .ok_or(format!("{file} says {text}"))
}

/// One request after the other: the daemon's own time for each.
fn one_by_one(store: &mut Store, pid: &str, mut request: impl FnMut(&mut Store, u32) -> Answer<()>) -> Answer<u64> {
    for round in 0..ROUNDS / 10 {
        request(store, round)?;
    }
    let begun = cpu_time(pid)?;
    for round in 0..ROUNDS {
        request(store, round)?;
    }
    Ok((cpu_time(pid)? - begun) / u64::from(ROUNDS))
}

/// Many requests under way: how many a second.
fn piped(store: &mut Store, kind: u32, payload: impl Fn(u32) -> Vec<u8>) -> Answer<u64> {
    let begun = Instant::now();
    for round in 0..ROUNDS {
        store.send(kind, 0, &payload(round))?;
        if round >= DEPTH {
            store.receive()?;
        }
    }
    for _ in 0..DEPTH {
        store.receive()?;
    }
    Ok(u64::from(ROUNDS) * 1_000_000_000 / u64::try_from(begun.elapsed().as_nanos()).unwrap_or(1).max(1))
}

/// Reads, changes and reads again within a transaction.
fn transact(store: &mut Store, number: u32) -> Answer<()> {
    let reply = store.ask(TRANSACTION_START, 0, b"\0")?;
    let text = String::from_utf8_lossy(&reply);
    let transaction = text
        .trim_end_matches('\0')
        .parse()
        .map_err(|_| format!("no transaction: {text}"))?;
    store.ask(READ, transaction, &named(number, ""))?;
    store.ask(WRITE, transaction, &named(number, "changed"))?;
    store.ask(READ, transaction, &named(number, ""))?;
    store.ask(TRANSACTION_END, transaction, b"T\0").map(drop)
}

/// Makes nodes, measures, takes them away again.
pub(crate) fn bench(pid: &str, nodes: &str) -> Answer<()> {
    let nodes: u32 = nodes.parse().map_err(|_| format!("`{nodes}` is no number of nodes"))?;
    let mut store = Store::open()?;
    for number in 0..nodes {
        store.send(WRITE, 0, &named(number, "a value of a usual length"))?;
        if number >= DEPTH {
            store.receive()?;
        }
    }
    for _ in 0..nodes.min(DEPTH) {
        store.receive()?;
    }
    // Spread over all nodes, so that no cache holds the ones that are asked for.
    let node = |round: u32| (u64::from(round) * 7919 % u64::from(nodes)) as u32;
    let report = |name: &str, value: u64| println!("BENCH store_{name}_{nodes} {value}");
    let read = |store: &mut Store, round| store.ask(READ, 0, &named(node(round), "")).map(drop);
    let write = |store: &mut Store, round| store.ask(WRITE, 0, &named(node(round), "another value")).map(drop);
    report("read", one_by_one(&mut store, pid, read)?);
    report("write", one_by_one(&mut store, pid, write)?);
    report(
        "transaction",
        one_by_one(&mut store, pid, |store, round| transact(store, node(round)))?,
    );
    report("read_piped", piped(&mut store, READ, |round| named(node(round), ""))?);
    report(
        "write_piped",
        piped(&mut store, WRITE, |round| named(node(round), "yet another"))?,
    );
    store.ask(WATCH, 0, b"/bench\0token\0")?;
    report("write_watched", one_by_one(&mut store, pid, write)?);
    report(
        "write_watched_piped",
        piped(&mut store, WRITE, |round| named(node(round), "watched"))?,
    );
    store.ask(UNWATCH, 0, b"/bench\0token\0")?;
    store.ask(RM, 0, b"/bench\0").map(drop)
}
