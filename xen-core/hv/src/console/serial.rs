//! A 16550 serial port, written by polling.

use crate::arch::x86::port;
use xen_logic::cmdline::Com;

const DATA: u16 = 0;
const INTERRUPT_ENABLE: u16 = 1;
const FIFO_CONTROL: u16 = 2;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;
const SCRATCH: u16 = 7;

const DIVISOR_ACCESS: u8 = 0x80;
const RECEIVED: u8 = 1;
const CAN_SEND: u8 = 0x20;
/// Times a full transmitter is looked at before the port counts as dead.
const PATIENCE: u32 = 10_000_000;
/// Bytes a 16550 takes once its transmitter is empty.
const FIFO_SIZE: u8 = 16;

/// An open port.
pub(super) struct Port {
    base: u16,
    dead: bool,
    /// Bytes that fit without looking at the status.
    room: u8,
}

fn read(base: u16, register: u16) -> u8 {
    // SAFETY: a serial port's registers affect the port only.
    unsafe { port::read(base + register, 1) as u8 }
}

fn write(base: u16, register: u16, value: u8) {
    // SAFETY: as for `read`.
    unsafe { port::write(base + register, 1, value.into()) }
}

impl Port {
    /// Sets the port up; none if there is no port at that address.
    pub(super) fn open(com: Com) -> Option<Self> {
        let base = com.port;
        write(base, SCRATCH, 0x5a);
        if read(base, SCRATCH) != 0x5a {
            return None;
        }
        write(base, INTERRUPT_ENABLE, 0);
        if let Some(baud) = com.baud {
            let divisor = (115_200 / baud) as u16;
            write(base, LINE_CONTROL, DIVISOR_ACCESS | com.line);
            write(base, DATA, divisor as u8);
            write(base, INTERRUPT_ENABLE, (divisor >> 8) as u8);
        }
        write(base, LINE_CONTROL, com.line);
        // FIFOs on and empty; data terminal ready, request to send, and the line that lets interrupts through.
        write(base, FIFO_CONTROL, 0x07);
        write(base, MODEM_CONTROL, 0x0b);
        Some(Self {
            base,
            dead: false,
            room: 0,
        })
    }

    /// Sends a byte when there is room for it. A port that never has room is given up.
    pub(super) fn put(&mut self, byte: u8) {
        if self.dead {
            return;
        }
        if self.room == 0 {
            let mut patience = PATIENCE;
            while read(self.base, LINE_STATUS) & CAN_SEND == 0 {
                patience -= 1;
                if patience == 0 {
                    self.dead = true;
                    return;
                }
                core::hint::spin_loop();
            }
            self.room = FIFO_SIZE;
        }
        self.room -= 1;
        write(self.base, DATA, byte);
    }
}

/// Takes a received byte.
pub(super) fn take(com: &Com) -> Option<u8> {
    (read(com.port, LINE_STATUS) & RECEIVED != 0).then(|| read(com.port, DATA))
}

/// Lets the port interrupt when it has received something.
pub(super) fn enable_receive_interrupt(com: &Com) {
    write(com.port, INTERRUPT_ENABLE, 1);
}
