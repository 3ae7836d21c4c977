//! The shell's commands.
use alloc::string::String;
use alloc::vec::Vec;
use guest_rt::{Machine, clock, frames, hypercall, ports, println, start_info, vcpu};
use pv_xenbus::{Error, Nodes, RingStore};
use xen_abi::*;

/// What stays between commands.
pub struct Session {
    store: Result<RingStore<Machine>, Error>,
}

const HELP: &[(&str, &str)] = &[
    ("info", "what this guest was given"),
    ("mem", "free memory; mem N allocates N pages and frees them"),
    ("time", "system time and wall clock"),
    (
        "evtchn",
        "event channels and what they are bound to; evtchn loop N sends N events to itself",
    ),
    ("ls [PATH]", "children of a node of the store"),
    ("read PATH", "a node's value"),
    ("write PATH VALUE", "sets it"),
    ("devices", "this guest's devices and the state of both ends"),
    ("panic", "dies, with a backtrace"),
    ("exit [N]", "powers off with this status"),
];

impl Session {
    /// Takes up the store's ring.
    pub fn new() -> Session {
        Session {
            store: RingStore::new(&Machine),
        }
    }

    fn store(&self) -> Result<&RingStore<Machine>, Error> {
        self.store.as_ref().map_err(Clone::clone)
    }

    /// Runs one command; what went wrong is printed.
    pub fn run(&mut self, words: &[&str]) {
        if let Err(error) = self.run_on_store(words) {
            println!("{error}");
        }
    }

    fn run_on_store(&self, words: &[&str]) -> Result<(), Error> {
        match words {
            ["ls"] => self.list(&alloc::format!("/local/domain/{}", self.store()?.read("domid")?)),
            ["ls", path] => self.list(path),
            ["read", path] => self.read(path),
            ["write", path, value] => self.write(path, value),
            ["devices"] => self.devices(),
            _ => {
                run_alone(words);
                Ok(())
            }
        }
    }

    fn list(&self, path: &str) -> Result<(), Error> {
        for name in self.store()?.directory(path)? {
            println!("{name}");
        }
        Ok(())
    }

    fn read(&self, path: &str) -> Result<(), Error> {
        println!("{}", self.store()?.read(path)?);
        Ok(())
    }

    fn write(&self, path: &str, value: &str) -> Result<(), Error> {
        self.store()?.write(path, value)
    }

    fn devices(&self) -> Result<(), Error> {
        let store = self.store()?;
        for kind in store.directory("device")? {
            for number in store.directory(&alloc::format!("device/{kind}"))? {
                let path = alloc::format!("device/{kind}/{number}");
                // What is no device has none of these.
                let state = |path: &str| -> String {
                    store
                        .read(&alloc::format!("{path}/state"))
                        .unwrap_or_else(|_| "none".into())
                };
                if let Ok(backend) = store.read(&alloc::format!("{path}/backend")) {
                    println!("{path}: state {}, {backend}: state {}", state(&path), state(&backend));
                }
            }
        }
        Ok(())
    }
}

/// Commands that need no store.
fn run_alone(words: &[&str]) {
    match words {
        [] => {}
        ["help", ..] => {
            for (command, what) in HELP {
                println!("{command:<18} {what}");
            }
        }
        ["info"] => info(),
        ["mem"] => memory(),
        ["mem", count] => allocate(count),
        ["time"] => time(),
        ["evtchn"] => channels(),
        ["evtchn", "loop", count] => send_to_self(count),
        ["panic"] => panic!("as asked"),
        [other, ..] => println!("{other}: no such command, or not with these words; type help"),
    }
}

fn info() {
    let info = start_info();
    println!(
        "{} pages, {} vcpus, flags {:#x}",
        info.nr_pages,
        vcpu::count(),
        info.flags
    );
    println!(
        "store at port {}, console at port {}",
        info.store_evtchn, info.console.evtchn
    );
    println!(
        "{} page tables at start, list of frames at {:#x}",
        info.nr_pt_frames, info.mfn_list
    );
    let version = hypercall::version();
    println!("hypervisor {}.{}", version >> 16, version & 0xffff);
}

fn memory() {
    let (free, all) = frames::counts();
    println!("{free} of {all} pages free");
}

/// Takes pages, writes to each and gives them back.
fn allocate(count: &str) {
    let Ok(count) = count.parse::<usize>() else {
        return println!("{count}: no number");
    };
    let mut list = Vec::new();
    for number in 0..count {
        let mut page = Vec::new();
        if page.try_reserve_exact(4096).is_err() {
            println!("no memory after {number} pages");
            return;
        }
        page.resize(4096, number as u8);
        list.push(page);
    }
    let is_good = |(number, page): (usize, &Vec<u8>)| page.iter().all(|&byte| byte == number as u8);
    println!(
        "{count} pages hold what was written: {}",
        list.iter().enumerate().all(is_good)
    );
}

fn time() {
    let system = clock::system_time();
    let (seconds, _) = clock::wall_clock_base();
    println!("{} ms since the hypervisor's start", system / 1_000_000);
    println!("{} s since 1970", seconds + system / 1_000_000_000);
}

/// Ports are looked at from 1 on, as far as there may be any.
const PORTS: u32 = 64;

#[expect(non_upper_case_globals, reason = "the header's spelling")]
fn channels() {
    for port in 1..PORTS {
        let mut status = evtchn_status {
            dom: DOMID_SELF,
            port,
            ..Default::default()
        };
        if hypercall::event_channel_op(EVTCHNOP_status, &mut status) < 0 {
            continue;
        }
        let pending = if ports::is_pending(port) { ", pending" } else { "" };
        match status.status {
            EVTCHNSTAT_unbound => println!("{port}: for domain {}{pending}", status.u0 & 0xffff),
            EVTCHNSTAT_interdomain => println!("{port}: domain {} port {}{pending}", status.u0 & 0xffff, status.u1),
            EVTCHNSTAT_virq => println!("{port}: virtual interrupt {}{pending}", status.u0),
            EVTCHNSTAT_pirq => println!("{port}: interrupt {}{pending}", status.u0),
            EVTCHNSTAT_ipi => println!("{port}: between vcpus{pending}"),
            _ => {}
        }
    }
}

fn send_to_self(count: &str) {
    let channel = ports::allocate_unbound(DOMID_SELF).and_then(|there| {
        let here = ports::bind_interdomain(DOMID_SELF, there)?;
        Ok((here, there))
    });
    let (Ok(count), Ok((here, there))) = (count.parse::<u32>(), channel) else {
        return println!("no channel, or no number");
    };
    let mut arrived = 0;
    for _ in 0..count {
        ports::send(here);
        ports::wait(core::iter::once(there), None);
        arrived += u32::from(ports::take(there));
    }
    println!("{arrived} of {count} arrived");
    ports::close(here);
    ports::close(there);
}
