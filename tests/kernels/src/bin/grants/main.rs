//! Grant tables and event channels as their users see them, and what a wild user gets. The kernel runs in Dom0's place,
//! or as any other domain, and is both sides: it grants pages to itself and connects ports of its own. With two vcpus,
//! both do so at once.
#![no_std]
#![no_main]
mod channels;
mod copying;
mod mapping;
mod race;
mod table;
mod versions;
mod wild;

guest_rt::kernel!(main);

fn main() {
    table::run();
    mapping::run();
    copying::run();
    channels::run();
    wild::run();
    race::run();
    versions::run();
}
