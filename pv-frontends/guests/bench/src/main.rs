//! Counts what a hypervisor's paths cost, in TSC ticks: under QEMU's `-icount shift=0` a tick is an instruction. It runs
//! in Dom0's place or as a DomU, and prints `BENCH name value` for each path; each value is the least mean of several
//! batches. With the word `echo` it is the other domain of the events between domains.
#![no_std]
#![no_main]
#![allow(unreachable_pub, reason = "a program's modules speak to each other only")]
extern crate alloc;

mod across;
mod events;
mod grants;
mod measure;
mod store;
mod switches;
mod tables;
mod traps;

use guest_rt::{check, console};

guest_rt::main!(main);

fn main() -> u8 {
    let store = store::connect();
    if guest_rt::words().any(|word| word == "echo") {
        across::echo(&store);
    }
    traps::run();
    events::run();
    tables::run();
    switches::run();
    match store::own_id(&store) {
        Some(own) => grants::run(own),
        None => check!("grants/own-id", false, "the store does not say which domain this is"),
    }
    across::run(&store);
    u8::from(!console::summary())
}
