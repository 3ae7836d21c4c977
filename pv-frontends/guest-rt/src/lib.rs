//! What a paravirtual guest image in Rust stands on: entry and ELF notes, hypercalls, traps, page tables, vcpus,
//! events, user mode, console. An image is a `no_std`, `no_main` binary that names its main function with
//! [`kernel!`] and is linked with `guest.ld`.
#![no_std]

pub mod console;
pub mod events;
pub mod hypercall;
mod memory;
pub mod pages;
pub mod trap;
pub mod user;
pub mod vcpu;

use core::sync::atomic::{AtomicUsize, Ordering};
use xen_abi::start_info;

core::arch::global_asm!(include_str!("start.s"));
core::arch::global_asm!(include_str!("notes.s"), options(att_syntax));

unsafe extern "Rust" {
    /// The image's main function; [`kernel!`] defines it.
    safe fn guest_main();
}

/// Names the main function of an image.
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
