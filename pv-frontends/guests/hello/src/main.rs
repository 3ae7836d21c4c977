//! The smallest guest: says hello and what it was given, and powers off.
#![no_std]
#![no_main]
extern crate alloc;
use alloc::string::String;
use guest_rt::{clock, frames, println, start_info, vcpu};

guest_rt::main!(main);

fn main() {
    let info = start_info();
    println!("Hello from a guest in Rust.");
    println!("{} pages of memory, {} vcpu(s)", info.nr_pages, vcpu::count());
    let (free, _) = frames::counts();
    println!("{} MiB of it free", free / 256);
    println!("the hypervisor has been up for {} ms", clock::system_time() / 1_000_000);
    let words = guest_rt::words().fold(String::new(), |line, word| line + " " + word);
    println!("told:{words}");
}
