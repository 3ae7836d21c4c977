//! An ordinary little kernel that makes no far return, so that it can run where the CPU has SMAP: copies in both
//! directions, traps, user mode, events, timers, page tables, segments.
#![no_std]
#![no_main]
mod copies;
mod events;
mod tables;
mod traps;

guest_rt::kernel!(main);

fn main() {
    copies::run();
    traps::run();
    tables::run();
    events::run();
}
