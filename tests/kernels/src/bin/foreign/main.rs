//! The memory of other domains, from Dom0's place: domains are made, given memory, mapped, their page tables pinned,
//! and ended while their frames are still mapped. No domain made here ever runs.
#![no_std]
#![no_main]
mod accounts;
mod control;
mod ends;
mod mapping;
mod pools;
mod tables;
mod tracking;
mod transfers;

guest_rt::kernel!(main);

fn main() {
    // What the hypervisor allocates for its first domain it may keep for the next one.
    ends::cycle(16);
    accounts::run();
    mapping::run();
    tables::run();
    tracking::run();
    pools::run();
    ends::run();
    transfers::run();
}
