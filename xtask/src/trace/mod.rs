//! Reads the hypervisor's trace rings out of a stopped machine and writes them as a Chrome trace, which Perfetto
//! opens, too. `xen-core/hv/src/trace/mod.rs` says how the rings lie in memory.

mod chrome;
mod kinds;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::image::{LOAD_OFFSET, symbols};
use crate::machine::qmp::Qmp;
use crate::progress::note;
use crate::workspace;

const SYMBOL: &str = "paravane_trace_header";
const MAGIC: u64 = u64::from_le_bytes(*b"PVTRACE1");

/// Sizes of the header's parts.
const HEADER: usize = 64;
const CPU: usize = 64;
const ENTRY: usize = 32;

/// One entry, as it was written.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Time-stamp counter.
    pub tsc: u64,
    /// A number of `kinds.rs`.
    pub kind: u16,
    /// Where.
    pub cpu: u16,
    /// Domain, or 0xffff.
    pub domain: u16,
    /// Vcpu, or 0xffff.
    pub vcpu: u16,
    /// What the kind says.
    pub a: u64,
    /// What the kind says.
    pub b: u64,
}

/// All rings, by time.
#[derive(Debug)]
pub struct Trace {
    /// Entries of all CPUs, oldest first.
    pub entries: Vec<Entry>,
    /// Ticks in a millisecond.
    pub tsc_khz: u64,
    /// Entries that newer ones have overwritten.
    pub lost: u64,
}

fn words(bytes: &[u8]) -> Vec<u64> {
    bytes
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().unwrap_or_default()))
        .collect()
}

fn entry(bytes: &[u8]) -> Entry {
    let word = words(bytes);
    let part = |shift: u32| (word[1] >> shift) as u16;
    Entry {
        tsc: word[0],
        kind: part(0),
        cpu: part(16),
        domain: part(32),
        vcpu: part(48),
        a: word[2],
        b: word[3],
    }
}

/// A ring's entries, oldest first.
fn ring(bytes: &[u8], next: u64) -> Vec<Entry> {
    let entries: Vec<Entry> = bytes.chunks_exact(ENTRY).map(entry).collect();
    let count = entries.len() as u64;
    (next.saturating_sub(count)..next)
        .map(|at| entries[(at % count) as usize])
        .collect()
}

/// Reads all rings.
pub fn read(qmp: &mut Qmp, elf64: &[u8], scratch: &Path) -> Result<Trace> {
    let at = symbols::address(elf64, SYMBOL)? - LOAD_OFFSET;
    let header = words(&qmp.read_memory(at, HEADER, scratch)?);
    ensure!(
        header[0] == MAGIC,
        "no trace header at {at:#x}: is this image the one that runs?"
    );
    ensure!(header[1] == ENTRY as u64, "trace entries of {} bytes", header[1]);
    let cpus = usize::try_from(header[2])?;
    let descriptions = qmp.read_memory(at + HEADER as u64, cpus * CPU, scratch)?;
    let mut trace = Trace {
        entries: Vec::new(),
        tsc_khz: header[4].max(1),
        lost: 0,
    };
    for cpu in descriptions.chunks_exact(CPU).map(words) {
        let (address, entries, next) = (cpu[1], cpu[2], cpu[3]);
        if address == 0 || entries == 0 {
            continue;
        }
        let bytes = qmp.read_memory(address, usize::try_from(entries)? * ENTRY, scratch)?;
        trace.entries.extend(ring(&bytes, next));
        trace.lost += next.saturating_sub(entries);
    }
    trace.entries.sort_by_key(|entry| entry.tsc);
    Ok(trace)
}

/// Waits for the machine's end, then writes its trace to `file` and lets QEMU go.
pub fn at_end(socket: &Path, file: &Path, scratch: &Path, limit: Duration) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(10);
    let mut qmp = loop {
        match Qmp::connect(socket) {
            Ok(qmp) => break qmp,
            Err(error) if Instant::now() > end => return Err(error.context("QEMU's monitor")),
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    // A machine that goes on is stopped: its trace is wanted all the same.
    if qmp.wait_shutdown(limit).is_err() {
        note("the machine goes on; the trace ends here");
        qmp = Qmp::connect(socket)?;
        qmp.execute("stop", &json!({}))?;
    }
    let elf64 = workspace::read(&workspace::image_dir().join("paravane.elf64"))?;
    let trace = read(&mut qmp, &elf64, scratch)?;
    let text = chrome::export(&trace);
    workspace::write(file, text.as_bytes()).with_context(|| format!("cannot write {}", file.display()))?;
    note(format!(
        "{}: {} entries, {} older ones lost",
        file.display(),
        trace.entries.len(),
        trace.lost
    ));
    // QEMU may close the connection before it answers.
    let _ = qmp.execute("quit", &json!({}));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(tsc: u64) -> Vec<u8> {
        let what = 3_u64 | 1 << 16 | 7 << 32 | 2 << 48;
        [tsc, what, 5, 6].iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn a_full_ring_begins_behind_its_newest_entry() {
        let memory: Vec<u8> = [14, 15, 12, 13].into_iter().flat_map(bytes).collect();
        let times: Vec<u64> = ring(&memory, 6).iter().map(|entry| entry.tsc).collect();
        assert_eq!(times, [12, 13, 14, 15]);
        let times: Vec<u64> = ring(&memory, 2).iter().map(|entry| entry.tsc).collect();
        assert_eq!(times, [14, 15]);
    }

    #[test]
    fn an_entry_is_taken_apart() {
        let entry = entry(&bytes(9));
        assert_eq!(
            (entry.kind, entry.cpu, entry.domain, entry.vcpu, entry.a, entry.b),
            (3, 1, 7, 2, 5, 6)
        );
    }
}
