//! The smallest guest: says hello and what it was given, and powers off.
#![no_std]
#![no_main]
extern crate alloc;
use alloc::string::String;
use core::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use guest_rt::{clock, frames, println, start_info, vcpu};

guest_rt::main!(main);

/// Vcpus that have said so.
static RUNNING: AtomicUsize = AtomicUsize::new(1);

fn greet(number: usize) {
    println!("vcpu {number} runs, too");
    RUNNING.fetch_add(1, SeqCst);
}

fn main() {
    let info = start_info();
    println!("Hello from a guest in Rust.");
    println!("{} pages of memory, {} vcpu(s)", info.nr_pages, vcpu::count());
    let (free, _) = frames::counts();
    println!("{} MiB of it free", free / 256);
    println!("the hypervisor has been up for {} ms", clock::system_time() / 1_000_000);
    let words = guest_rt::words().fold(String::new(), |line, word| line + " " + word);
    println!("told:{words}");
    let started = (1..vcpu::count())
        .filter(|&number| vcpu::start(number, greet) == 0)
        .count();
    while RUNNING.load(SeqCst) <= started {
        vcpu::yield_now();
    }
}
