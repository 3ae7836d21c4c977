//! The smallest kernel: says hello and what it was given.
#![no_std]
#![no_main]
use guest_rt::{check, println, start_info, vcpu};

guest_rt::kernel!(main);

fn main() {
    let info = start_info();
    println!(
        "{} pages, {} vcpus, flags {:#x}",
        info.nr_pages,
        vcpu::count(),
        info.flags
    );
    check!(
        "hello",
        info.magic.starts_with(xen_abi::XEN_START_INFO_MAGIC),
        "magic {:x?}",
        info.magic
    );
}
