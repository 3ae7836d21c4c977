//! The Chrome trace format: a JSON list of slices and instants. One track a CPU for what it runs and does, and one a
//! vcpu for the time between waking and running.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::kinds;
use super::{Entry, Trace};

/// Process numbers, by which viewers group tracks.
const CPUS: u32 = 1;
const GUESTS: u32 = 2;

/// Slices that have begun.
#[derive(Default)]
struct Open {
    hypercalls: HashMap<(u16, u16), (f64, u64)>,
    running: HashMap<u16, (f64, String)>,
    idle: HashMap<u16, f64>,
    woken: HashMap<u64, f64>,
}

fn slice(name: &str, group: u32, track: u64, begin: f64, end: f64) -> Value {
    json!({ "name": name, "ph": "X", "pid": group, "tid": track, "ts": begin, "dur": (end - begin).max(0.0) })
}

fn vcpu_name(word: u64) -> String {
    match word >> 16 {
        0x7fff => format!("idle {}", word & 0xffff),
        domain => format!("d{domain}v{}", word & 0xffff),
    }
}

/// The trace as JSON text.
pub fn export(trace: &Trace) -> String {
    let names = kinds::kinds();
    let first = trace.entries.first().map_or(0, |entry| entry.tsc);
    let mut open = Open::default();
    let mut events = vec![
        json!({ "name": "process_name", "ph": "M", "pid": CPUS, "args": { "name": "CPUs" } }),
        json!({ "name": "process_name", "ph": "M", "pid": GUESTS, "args": { "name": "wake to run" } }),
    ];
    for entry in &trace.entries {
        let at = entry.tsc.wrapping_sub(first) as f64 * 1000.0 / trace.tsc_khz as f64;
        let name = names.get(usize::from(entry.kind)).copied().unwrap_or("?");
        step(entry, name, at, &mut open, &mut events);
    }
    json!({ "traceEvents": events, "displayTimeUnit": "ns" }).to_string()
}

fn step(entry: &Entry, name: &str, at: f64, open: &mut Open, events: &mut Vec<Value>) {
    let cpu = u64::from(entry.cpu);
    let whose = (entry.domain, entry.vcpu);
    match name {
        "hypercall" => {
            open.hypercalls.insert(whose, (at, entry.a));
        }
        "hypercall-end" => {
            if let Some((begun, number)) = open.hypercalls.remove(&whose) {
                let mut event = slice(&kinds::hypercall(number), CPUS, cpu, begun, at);
                event["args"] = json!({ "result": entry.b as i64 });
                events.push(event);
            }
        }
        "switch" => {
            let next = (at, vcpu_name(entry.b));
            if let Some((begun, who)) = open.running.insert(entry.cpu, next) {
                events.push(slice(&who, CPUS, cpu, begun, at));
            }
            if let Some(woken) = open.woken.remove(&entry.b) {
                events.push(slice(&vcpu_name(entry.b), GUESTS, entry.b, woken, at));
            }
        }
        "wake" => {
            open.woken.entry(entry.a).or_insert(at);
        }
        "idle" => {
            open.idle.insert(entry.cpu, at);
        }
        "idle-end" => {
            if let Some(begun) = open.idle.remove(&entry.cpu) {
                events.push(slice("idle", CPUS, cpu, begun, at));
            }
        }
        _ => events.push(json!({
            "name": name, "ph": "i", "s": "t", "pid": CPUS, "tid": cpu, "ts": at,
            "args": { "a": format!("{:#x}", entry.a), "b": format!("{:#x}", entry.b),
                      "vcpu": format!("d{}v{}", entry.domain, entry.vcpu) },
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(tsc: u64, kind: &str, a: u64, b: u64) -> Entry {
        let kind = kinds::kinds().iter().position(|&name| name == kind).unwrap() as u16;
        Entry {
            tsc,
            kind,
            cpu: 0,
            domain: 0,
            vcpu: 0,
            a,
            b,
        }
    }

    #[test]
    fn begin_and_end_become_one_slice() {
        let entries = vec![
            entry(1000, "hypercall", 29, 0),
            entry(3000, "hypercall-end", 29, u64::MAX),
        ];
        let text = export(&Trace {
            entries,
            tsc_khz: 1000,
            lost: 0,
        });
        let value: Value = serde_json::from_str(&text).unwrap();
        let event = &value["traceEvents"][2];
        assert_eq!(
            (event["name"].as_str(), event["dur"].as_f64()),
            (Some("sched_op"), Some(2000.0))
        );
        assert_eq!(event["args"]["result"], -1);
    }

    #[test]
    fn waking_and_running_become_latency() {
        let entries = vec![entry(0, "wake", 1, 0), entry(5000, "switch", 0x7fff_0000, 1)];
        let text = export(&Trace {
            entries,
            tsc_khz: 1000,
            lost: 0,
        });
        assert!(text.contains("d0v1"));
    }
}
