//! Lines on the console, and the count of passed and failed checks. A guest that the hypervisor's console listens to
//! writes there; a DomU has a ring that the console daemon reads (`io/console.h`).
use crate::{clock, exit, frames, hypercall, pages, start_info, vcpu};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering, fence};
use xen_abi::*;

/// The ring's sizes and its indices, as offsets in its page.
const IN_SIZE: u32 = 1024;
const OUT: u64 = 1024;
const OUT_SIZE: u32 = 2048;
const IN_CONS: u64 = 3072;
const IN_PROD: u64 = 3076;
const OUT_CONS: u64 = 3080;
const OUT_PROD: u64 = 3084;

/// A reader that takes nothing for so long, in nanoseconds, is not waited for any more.
const PATIENCE: u64 = 2_000_000_000;

/// A DomU's console ring.
#[derive(Clone, Copy)]
struct Ring {
    page: u64,
    port: u32,
}

static READER_IS_AWAY: AtomicBool = AtomicBool::new(false);

impl Ring {
    /// The ring that the domain builder made; `None` in a domain that has the hypervisor's console.
    fn find() -> Option<Ring> {
        let info = start_info();
        let is_dom0 = info.flags & SIF_INITDOMAIN != 0;
        (!is_dom0 && info.console.word != 0).then(|| Ring {
            page: frames::address_of(pages::pfn_of(info.console.word)),
            port: info.console.evtchn,
        })
    }

    fn index(&self, offset: u64) -> &AtomicU32 {
        // SAFETY: an aligned word of the ring, which stays mapped and which both sides write.
        unsafe { AtomicU32::from_ptr((self.page + offset) as *mut u32) }
    }

    fn byte(&self, offset: u64) -> &AtomicU8 {
        // SAFETY: a byte of the ring.
        unsafe { AtomicU8::from_ptr((self.page + offset) as *mut u8) }
    }

    fn notify(&self) {
        fence(Ordering::SeqCst);
        hypercall::event_channel_op(EVTCHNOP_send, &mut evtchn_send { port: self.port });
    }

    /// Bytes that have not been read; what makes no sense counts as a full ring.
    fn unread(&self) -> u32 {
        let produced = self.index(OUT_PROD).load(Ordering::Relaxed);
        produced
            .wrapping_sub(self.index(OUT_CONS).load(Ordering::Acquire))
            .min(OUT_SIZE)
    }

    /// Waits until fewer than `bytes` are unread, unless nobody reads.
    fn wait_below(&self, bytes: u32) -> bool {
        if self.unread() < bytes {
            READER_IS_AWAY.store(false, Ordering::Relaxed);
            return true;
        }
        if READER_IS_AWAY.load(Ordering::Relaxed) {
            return false;
        }
        self.notify();
        let end = clock::system_time() + PATIENCE;
        while self.unread() >= bytes {
            if clock::system_time() > end {
                READER_IS_AWAY.store(true, Ordering::Relaxed);
                return false;
            }
            hypercall::sched_op(SCHEDOP_yield, &mut ());
        }
        true
    }

    fn write(&self, bytes: &[u8]) {
        for &byte in bytes {
            if !self.wait_below(OUT_SIZE) {
                break;
            }
            let produced = self.index(OUT_PROD).load(Ordering::Relaxed);
            self.byte(OUT + u64::from(produced % OUT_SIZE))
                .store(byte, Ordering::Relaxed);
            self.index(OUT_PROD).store(produced.wrapping_add(1), Ordering::Release);
        }
        self.notify();
    }

    fn read(&self) -> Option<u8> {
        let consumed = self.index(IN_CONS).load(Ordering::Relaxed);
        let waiting = self.index(IN_PROD).load(Ordering::Acquire).wrapping_sub(consumed);
        if waiting == 0 {
            return None;
        }
        let byte = self.byte(u64::from(consumed % IN_SIZE)).load(Ordering::Relaxed);
        self.index(IN_CONS).store(consumed.wrapping_add(1), Ordering::Release);
        self.notify();
        Some(byte)
    }
}

/// A line put together before it goes out at once, so that vcpus do not mix theirs.
struct Line {
    ring: Option<Ring>,
    bytes: [u8; 512],
    length: usize,
}

impl Line {
    fn push(&mut self, byte: u8) {
        if self.length == self.bytes.len() {
            self.flush();
        }
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    fn flush(&mut self) {
        match self.ring {
            Some(ring) => ring.write(&self.bytes[..self.length]),
            None => {
                hypercall::console_write(&self.bytes[..self.length]);
            }
        }
        self.length = 0;
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            // What reads a ring may be a terminal; the hypervisor does this itself.
            if byte == b'\n' && self.ring.is_some() {
                self.push(b'\r');
            }
            self.push(byte);
        }
        Ok(())
    }
}

static BUSY: AtomicBool = AtomicBool::new(false);

/// Prints formatted text; see [`crate::println!`].
pub fn print(arguments: fmt::Arguments<'_>) {
    let mut line = Line {
        ring: Ring::find(),
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

/// Waits until the console's reader has taken all that was printed, unless it is away.
pub fn drain() {
    if let Some(ring) = Ring::find() {
        ring.wait_below(1);
    }
}

/// A byte that was typed at a DomU's console, if there is one.
pub fn read_byte() -> Option<u8> {
    Ring::find()?.read()
}

/// The port that fires when something is typed or read; `None` without a console ring.
pub fn port() -> Option<u32> {
    Some(Ring::find()?.port)
}

/// Prints formatted text to the console.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => { $crate::console::print(format_args!($($argument)*)) };
}

/// Prints a line to the console.
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

/// Prints how many checks passed and failed; the answer is whether none failed.
pub fn summary() -> bool {
    let (passed, failed) = (PASSED.load(Ordering::Relaxed), FAILED.load(Ordering::Relaxed));
    crate::println!("{passed} passed, {failed} failed");
    failed == 0
}

/// Prints `N passed, N failed` and powers off.
pub fn finish() -> ! {
    let status = u8::from(!summary());
    exit::exit(status)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    crate::println!("FAIL panic {info}");
    crate::println!("guest: panic on vcpu {}", vcpu::number());
    crate::backtrace::print();
    drain();
    hypercall::shutdown(SHUTDOWN_crash)
}
