//! Operations that Linux and the tools make seldom or never use of, from Dom0's place: each used rightly, its effect
//! looked at, and used wrongly.
#![no_std]
#![no_main]
mod control;
mod devices;
mod domains;
mod figures;
mod frames;
mod hypercalls;
mod machine;
mod rights;
mod scheduling;
mod vcpus;

guest_rt::kernel!(main);

fn main() {
    hypercalls::run();
    frames::run();
    vcpus::run();
    scheduling::run();
    devices::run();
    machine::run();
    domains::run();
    figures::run();
    // What is taken from this domain there does not come back.
    rights::run();
}
