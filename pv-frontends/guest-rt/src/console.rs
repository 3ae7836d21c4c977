//! Lines on the hypervisor's console, and the count of passed and failed checks.
use crate::hypercall;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// A line put together before it goes out in one hypercall, so that vcpus do not mix theirs.
struct Line {
    bytes: [u8; 512],
    length: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.length == self.bytes.len() {
                self.flush();
            }
            self.bytes[self.length] = byte;
            self.length += 1;
        }
        Ok(())
    }
}

impl Line {
    fn flush(&mut self) {
        hypercall::console_write(&self.bytes[..self.length]);
        self.length = 0;
    }
}

static BUSY: AtomicBool = AtomicBool::new(false);

/// Prints formatted text; see [`crate::println!`].
pub fn print(arguments: fmt::Arguments<'_>) {
    let mut line = Line {
        bytes: [0; 512],
        length: 0,
    };
    let _ = line.write_fmt(arguments);
    // A vcpu that trapped while it printed must still get through: wait, but not for ever.
    for _ in 0..1_000_000 {
        if !BUSY.swap(true, Ordering::Acquire) {
            break;
        }
        core::hint::spin_loop();
    }
    line.flush();
    BUSY.store(false, Ordering::Release);
}

/// Prints a line to the hypervisor's console.
#[macro_export]
macro_rules! println {
    ($($argument:tt)*) => { $crate::console::print(format_args!("{}\n", format_args!($($argument)*))) };
}

static PASSED: AtomicU32 = AtomicU32::new(0);
static FAILED: AtomicU32 = AtomicU32::new(0);

/// Records a check: prints `ok NAME` or `FAIL NAME why`.
pub fn report(name: fmt::Arguments<'_>, holds: bool, why: fmt::Arguments<'_>) {
    if holds {
        PASSED.fetch_add(1, Ordering::Relaxed);
        crate::println!("ok {name}");
    } else {
        FAILED.fetch_add(1, Ordering::Relaxed);
        crate::println!("FAIL {name} {why}");
    }
}

/// Records a check that holds or fails; the rest is why it failed, as for `format!`.
#[macro_export]
macro_rules! check {
    ($name:expr, $holds:expr, $($why:tt)*) => {
        $crate::console::report(format_args!("{}", $name), $holds, format_args!($($why)*))
    };
}

/// Prints `N passed, N failed` and powers off.
pub fn finish() -> ! {
    let (passed, failed) = (PASSED.load(Ordering::Relaxed), FAILED.load(Ordering::Relaxed));
    crate::println!("{passed} passed, {failed} failed");
    hypercall::shutdown(xen_abi::SHUTDOWN_poweroff)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    crate::println!("FAIL panic {info}");
    hypercall::shutdown(xen_abi::SHUTDOWN_crash)
}
