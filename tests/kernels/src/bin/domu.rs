//! A guest that boots in a moment: says `DOMU UP WORD` on its console and then does what the first word of its command
//! line says: `sleep` (the default), `spin`, `talk` (a numbered line for each second), `flood` (numbered lines as fast as
//! they are read), `spoil` (breaks its console's ring and rings the bell, again and again), `poweroff`, `reboot`, `crash`,
//! `panic`, `watchdog` (sets one for two seconds and never looks after it), `pirq` (binds the first physical interrupt
//! that it is given).
#![no_std]
#![no_main]
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU32, Ordering, fence};
use guest_rt::clock::ticks;
use guest_rt::{hypercall, pages, start_info};
use xen_abi::*;

guest_rt::kernel!(main);

/// The ring's output bytes and its indices, as offsets in the page: io/console.h.
const OUT: u64 = 1024;
const OUT_SIZE: u32 = 2048;
const OUT_CONS: u64 = OUT + OUT_SIZE as u64 + 8;
const OUT_PROD: u64 = OUT_CONS + 4;

/// The console ring that the domain builder made for a DomU.
struct Console {
    page: u64,
    port: u32,
}

impl Console {
    fn find() -> Console {
        let info = start_info();
        Console {
            page: pages::VIRT_BASE + (pages::pfn_of(info.console.word) << 12),
            port: info.console.evtchn,
        }
    }

    /// Waits until `bytes` fit, as Linux does: by yielding.
    fn wait_room(&self, bytes: u32) {
        let produced = self.index(OUT_PROD).load(Ordering::Relaxed);
        while produced.wrapping_sub(self.index(OUT_CONS).load(Ordering::Acquire)) > OUT_SIZE - bytes {
            hypercall::sched_op(SCHEDOP_yield, &mut ());
        }
    }

    fn index(&self, offset: u64) -> &AtomicU32 {
        // SAFETY: an aligned word of the ring, which stays mapped and which both sides write.
        unsafe { AtomicU32::from_ptr((self.page + offset) as *mut u32) }
    }
}

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            let produced = self.index(OUT_PROD).load(Ordering::Relaxed);
            // A reader that is away must not stop the guest: what does not fit is lost.
            if produced.wrapping_sub(self.index(OUT_CONS).load(Ordering::Acquire)) >= OUT_SIZE {
                break;
            }
            let at = self.page + OUT + u64::from(produced % OUT_SIZE);
            // SAFETY: a byte of the ring's output part.
            unsafe { (at as *mut u8).write_volatile(byte) };
            self.index(OUT_PROD).store(produced.wrapping_add(1), Ordering::Release);
        }
        fence(Ordering::SeqCst);
        hypercall::event_channel_op(EVTCHNOP_send, &mut evtchn_send { port: self.port });
        Ok(())
    }
}

fn main() {
    let mut console = Console::find();
    let word = guest_rt::words().next().unwrap_or_default();
    let _ = writeln!(console, "DOMU UP {word}\r");
    match word {
        "spin" => spin(),
        "poweroff" => hypercall::shutdown(SHUTDOWN_poweroff),
        "reboot" => hypercall::shutdown(SHUTDOWN_reboot),
        "crash" => hypercall::shutdown(SHUTDOWN_crash),
        "panic" => panic!("as asked"),
        "talk" => talk(&mut console),
        "flood" => flood(&mut console),
        "spoil" => spoil(&console),
        "watchdog" => watchdog(&mut console),
        "pirq" => pirq(&mut console),
        _ => sleep(),
    }
}

/// Blocks for ever: nothing is bound that could wake it.
fn sleep() -> ! {
    loop {
        hypercall::sched_op(SCHEDOP_block, &mut ());
    }
}

/// Counts for ever. No `pause`: QEMU leaves its translated code for each, a thousand times as slow as anything else.
fn spin() -> ! {
    let mut count = 0u64;
    loop {
        count = core::hint::black_box(count.wrapping_add(1));
    }
}

/// A line, then a second of polling nothing, and so on.
fn talk(console: &mut Console) -> ! {
    for number in 0u32.. {
        let _ = writeln!(console, "line {number}\r");
        let begun = ticks();
        while ticks().wrapping_sub(begun) < 1_000_000_000 {
            hypercall::sched_op(SCHEDOP_yield, &mut ());
        }
    }
    sleep()
}

/// Lines without end, none lost.
fn flood(console: &mut Console) -> ! {
    for number in 0u32.. {
        console.wait_room(32);
        let _ = writeln!(console, "flood {number}\r");
    }
    sleep()
}

/// Writes what no honest guest does into all four indices.
fn spoil(console: &Console) -> ! {
    let mut word = ticks() as u32 | 1;
    loop {
        for offset in [OUT_CONS - 8, OUT_CONS - 4, OUT_CONS, OUT_PROD] {
            word = word.wrapping_mul(0x9e37_79b1).rotate_left(13);
            console.index(offset).store(word, Ordering::Release);
        }
        hypercall::event_channel_op(EVTCHNOP_send, &mut evtchn_send { port: console.port });
    }
}

/// Sets a watchdog and goes to sleep: it ends the domain.
fn watchdog(console: &mut Console) -> ! {
    let number = hypercall::sched_op(SCHEDOP_watchdog, &mut sched_watchdog { id: 0, timeout: 2 });
    let _ = writeln!(console, "WATCHDOG {number}\r");
    sleep()
}

/// Tries numbers until the toolstack has given it an interrupt.
fn pirq(console: &mut Console) -> ! {
    loop {
        for pirq in 1..256 {
            let mut ask = evtchn_bind_pirq {
                pirq,
                ..Default::default()
            };
            if hypercall::event_channel_op(EVTCHNOP_bind_pirq, &mut ask) == 0 {
                let _ = writeln!(console, "PIRQ {pirq} at {}\r", ask.port);
                sleep();
            }
        }
        hypercall::sched_op(SCHEDOP_yield, &mut ());
    }
}
