//! The battery-backed clock, read once at boot.

use super::port;
use xen_logic::rtc::{RtcRegisters, unix_seconds};

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;

fn register(number: u8) -> u8 {
    // SAFETY: selecting and reading a register of the clock changes none; Dom0, which shares the pair of ports,
    // does not run yet.
    unsafe {
        port::write(INDEX, 1, number as u32);
        port::read(DATA, 1) as u8
    }
}

fn read_all() -> RtcRegisters {
    // Register A, bit 7: an update is under way. It lasts 2 ms at most.
    for _ in 0..10_000 {
        if register(0x0a) & 0x80 == 0 {
            break;
        }
    }
    RtcRegisters {
        second: register(0),
        minute: register(2),
        hour: register(4),
        day: register(7),
        month: register(8),
        year: register(9),
        century: register(0x32),
        mode: register(0x0b),
    }
}

/// Seconds since 1970-01-01 00:00 UTC by the clock, if it is there and makes sense.
pub fn read_unix_seconds() -> Option<u64> {
    // Two equal readings: no update came between the registers.
    let mut last = read_all();
    for _ in 0..10 {
        let now = read_all();
        if now == last {
            return unix_seconds(&now);
        }
        last = now;
    }
    None
}
