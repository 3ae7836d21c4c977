//! What a paravirtual guest image in Rust stands on: entry and ELF notes, hypercalls, traps, memory and page tables,
//! heap, vcpus, events, time, user mode, console, an orderly end. An image is a `no_std`, `no_main` binary that names its
//! main function with [`main!`] and is linked by `guest.ld` (`link.rs` is a build script that does it):
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//! extern crate alloc;
//! use guest_rt::println;
//!
//! guest_rt::main!(main);
//!
//! fn main() {
//!     println!("hello from {} vcpus", guest_rt::vcpu::count());
//! }
//! ```
#![no_std]

extern crate alloc;

pub mod backtrace;
pub mod clock;
pub mod console;
pub mod contiguous;
pub mod events;
pub mod exit;
pub mod foreign;
pub mod frames;
mod grants;
mod heap;
pub mod hypercall;
pub mod io_port;
pub mod machine;
mod memory;
pub mod pages;
pub mod ports;
pub mod registers;
pub mod trap;
pub mod user;
pub mod vcpu;
pub mod window;

pub use machine::Machine;

use core::sync::atomic::{AtomicUsize, Ordering};
use xen_abi::start_info;

core::arch::global_asm!(include_str!("start.s"));
core::arch::global_asm!(include_str!("notes.s"), options(att_syntax));

unsafe extern "Rust" {
    /// The image's main function; [`kernel!`] defines it.
    safe fn guest_main();
}

/// Names the main function of a guest. What it gives becomes the guest's status: nothing, a number, or a result whose
/// error is printed; see [`exit::Termination`].
#[macro_export]
macro_rules! main {
    ($main:path) => {
        /// What the runtime calls when the machine is set up.
        #[unsafe(no_mangle)]
        fn guest_main() {
            $crate::exit::run($main)
        }
    };
}

/// Names the main function of an image that counts checks: at its end the counts are printed.
#[macro_export]
macro_rules! kernel {
    ($main:path) => {
        /// What the runtime calls when the machine is set up.
        #[unsafe(no_mangle)]
        fn guest_main() {
            let main: fn() = $main;
            main()
        }
    };
}

static START_INFO: AtomicUsize = AtomicUsize::new(0);

/// What the domain builder said at start of day.
pub fn start_info() -> &'static start_info {
    // SAFETY: set once by `guest_start`, before any other code, to the builder's page, which stays as it is.
    unsafe { &*(START_INFO.load(Ordering::Relaxed) as *const start_info) }
}

/// The words of the command line.
pub fn words() -> impl Iterator<Item = &'static str> {
    let line = &start_info().cmd_line;
    let end = line.iter().position(|&byte| byte == 0).unwrap_or(line.len());
    core::str::from_utf8(&line[..end])
        .unwrap_or_default()
        .split_ascii_whitespace()
}

/// The value of a `NAME=VALUE` word of the command line.
pub fn option(name: &str) -> Option<&'static str> {
    words().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
}

/// First Rust code of the image, on the boot stack.
#[unsafe(no_mangle)]
extern "C" fn guest_start(info: usize) -> ! {
    START_INFO.store(info, Ordering::Relaxed);
    vcpu::init_boot_vcpu();
    trap::init();
    events::init();
    guest_main();
    console::finish()
}
