//! Load for Dom0 that checks its own results: `dom0-load [ROUNDS] [LOAD…]`. Each load prints `NAME: ok` or says what
//! was wrong; the exit status is the number of loads that failed. `dom0-load --counters reset|NAME` and
//! `dom0-load --memory` ask the hypervisor, for the benchmarks; `--resources` and `--cpu-time DOMAIN` ask it for the
//! tests of guests, `--give-line DOMAIN LINE` gives one an interrupt; `--store PID NODES` measures xenstored,
//! `--disk-requests DEVICE COUNT` and `--echo-requests ADDRESS COUNT` a Linux guest's frontends;
//! `--pings ADDRESS` says when a guest did not answer.
#![allow(unsafe_code, reason = "system calls and registers are what is tested")]

mod aio;
mod arch;
mod fork;
mod fpu;
mod hypervisor;
mod icmp;
mod memory;
mod pings;
mod requests;
mod signal;
mod store;
mod system;
mod threads;
mod timer;

use std::process::ExitCode;

/// What a load found wrong.
type Check = Result<(), String>;

type Load = (&'static str, fn(u32) -> Check);

const LOADS: [Load; 6] = [
    ("fork", fork::run),
    ("mmap", memory::run),
    ("signal", signal::run),
    ("fpu", fpu::run),
    ("timer", timer::run),
    ("threads", threads::run),
];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let asked = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--exit", status] => return ExitCode::from(status.parse::<u8>().unwrap_or(u8::MAX)),
        ["--counters", word] => Some(hypervisor::counters(word)),
        ["--memory"] => Some(hypervisor::memory()),
        ["--store", pid, nodes] => Some(store::bench(pid, nodes)),
        ["--disk-requests", device, count] => Some(requests::disk(device, count)),
        ["--echo-requests", address, count] => Some(requests::net(address, count)),
        ["--pings", address] => Some(pings::run(address)),
        ["--cpu-time", domain] => Some(hypervisor::cpu_time(domain)),
        ["--give-line", domain, line] => Some(hypervisor::give_line(domain, line)),
        ["--resources"] => Some(hypervisor::resources()),
        _ => None,
    };
    match asked {
        Some(Ok(())) => return ExitCode::SUCCESS,
        Some(Err(what)) => {
            eprintln!("dom0-load: {what}");
            return ExitCode::FAILURE;
        }
        None => {}
    }
    let rounds = words.first().and_then(|word| word.parse().ok()).unwrap_or(1);
    let mut failed = 0;
    for (name, load) in LOADS {
        if words.len() > 1 && !words[1..].iter().any(|word| word == name) {
            continue;
        }
        match load(rounds) {
            Ok(()) => println!("{name}: ok"),
            Err(what) => {
                println!("{name}: FAILED: {what}");
                failed += 1;
            }
        }
    }
    ExitCode::from(failed)
}
