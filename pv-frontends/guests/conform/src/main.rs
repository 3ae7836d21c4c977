//! Runs the conformance cases: a line for each, and a status that says whether all of them behaved. Words: the beginning
//! of the cases' names, and `broken=NAME` for a case that is to be found failing.
#![no_std]
#![no_main]
extern crate alloc;

use alloc::vec::Vec;

use guest_rt::{Machine, option, println, words};
use pv_conform::{Bench, Case, block, console, net, run, xenbus};
use pv_xenbus::{Error, RingStore};

guest_rt::main!(main);

type Store = RingStore<Machine>;

fn cases() -> Vec<Case<Machine, Store>> {
    let mut all = xenbus::cases();
    all.extend(block::cases());
    all.extend(net::cases());
    // The last: it spoils the ring on which the lines come.
    all.extend(console::cases());
    all
}

fn main() -> Result<(), alloc::string::String> {
    let text = |error: Error| alloc::format!("{error}");
    let store = RingStore::new(&Machine).map_err(text)?;
    let wanted = words().find(|word| !word.contains('=')).unwrap_or("");
    let mut bench = Bench::new(Machine, store);
    let tally = run(&cases(), &mut bench, wanted, option("broken"), &mut |line| {
        println!("{line}")
    });
    println!(
        "{} passed, {} failed, {} not applicable",
        tally.passed, tally.failed, tally.skipped
    );
    match tally.failed {
        0 => Ok(()),
        count => Err(alloc::format!("{count} cases failed")),
    }
}
