//! What is typed on the console: from the serial port to Dom0.

use super::serial;
use crate::sync::Mutex;
use xen_logic::cmdline::Com;

/// Bytes kept until Dom0 reads them; more are lost.
const SIZE: usize = 1024;

struct Typed {
    com: Option<Com>,
    bytes: [u8; SIZE],
    head: usize,
    len: usize,
}

static TYPED: Mutex<Typed> = Mutex::new(Typed {
    com: None,
    bytes: [0; SIZE],
    head: 0,
    len: 0,
});

pub(super) fn set_port(com: Option<Com>) {
    TYPED.lock().com = com;
}

/// Lets the port interrupt at its line; once the interrupt is routed.
pub fn start() {
    let mut typed = TYPED.lock();
    if let Some(com) = typed.com {
        serial::enable_receive_interrupt(&com);
    }
    typed.take_received();
}

/// The ISA interrupt of the console's port, if it has one.
pub fn isa_irq() -> Option<u8> {
    TYPED.lock().com.map(|c| c.irq).filter(|irq| *irq != 0)
}

/// First and last I/O port of the console.
pub fn ports() -> Option<(u16, u16)> {
    TYPED.lock().com.map(|c| (c.port, c.port + 7))
}

impl Typed {
    fn take_received(&mut self) -> bool {
        let Some(com) = self.com else { return false };
        let before = self.len;
        while let Some(byte) = serial::take(&com) {
            if self.len < SIZE {
                let at = (self.head + self.len) % SIZE;
                self.bytes[at] = byte;
                self.len += 1;
            }
        }
        self.len > before
    }
}

/// Takes what the port has received; says whether that was anything. The caller then tells Dom0 (`VIRQ_CONSOLE`).
pub fn poll() -> bool {
    TYPED.lock().take_received()
}

/// Gives what was typed to Dom0; returns how many bytes.
pub fn guest_read(to: &mut [u8]) -> usize {
    let mut typed = TYPED.lock();
    let len = to.len().min(typed.len);
    for slot in &mut to[..len] {
        *slot = typed.bytes[typed.head];
        typed.head = (typed.head + 1) % SIZE;
    }
    typed.len -= len;
    len
}
