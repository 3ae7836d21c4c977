//! The console: messages of the hypervisor, and Dom0's output, to the serial port and to a ring for `dmesg`.
//!
//! A leaf: everything may log. One lock is held while a message is written, so that lines stay whole.

mod backtrace;
pub mod input;
mod level;
pub mod panic;
pub mod ring;
mod serial;
pub mod symbols;

pub use input::guest_read;
pub(crate) use level::limited;
pub use level::{Bucket, set_levels};

use crate::domain::Domain;
use crate::sync::Mutex;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use serial::Port;
use xen_logic::cmdline::{ConsolePort, Options};

/// What the console writes to.
struct Output {
    port: Option<Port>,
    last: u8,
}

static OUTPUT: Mutex<Output> = Mutex::new(Output { port: None, last: 0 });

impl Output {
    /// Serial port and ring.
    fn put(&mut self, bytes: &[u8]) {
        ring::put(bytes);
        self.send(bytes);
    }

    /// Serial port alone. A newline gets its carriage return on the wire only.
    fn send(&mut self, bytes: &[u8]) {
        let Some(port) = &mut self.port else { return };
        for &b in bytes {
            if b == b'\n' && self.last != b'\r' {
                port.put(b'\r');
            }
            port.put(b);
            self.last = b;
        }
    }
}

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes());
        Ok(())
    }
}

/// Writes lines of text, each with the hypervisor's prefix.
struct Prefixed<'a> {
    out: &'a mut Output,
    at_start: bool,
}

impl Write for Prefixed<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for line in text.split_inclusive('\n') {
            if self.at_start {
                self.out.put(b"(PV) ");
            }
            self.out.put(line.as_bytes());
            self.at_start = line.ends_with('\n');
        }
        Ok(())
    }
}

/// Writes a message of one or more lines.
fn message(out: &mut Output, args: fmt::Arguments) {
    let mut text = Prefixed { out, at_start: true };
    // Neither the port nor the ring fails.
    let _ = text.write_fmt(args);
    if !text.at_start {
        let _ = text.write_str("\n");
    }
}

/// Opens the port that the command line names, and starts taking messages.
pub fn init(options: &Options) {
    set_levels(options);
    let com = match options.console {
        ConsolePort::None => None,
        ConsolePort::Com1 => Some(options.com1),
        ConsolePort::Com2 => Some(options.com2),
    };
    OUTPUT.lock().port = com.and_then(Port::open);
    input::set_port(com);
    // It fails if there is a logger already, which is this one.
    let _ = log::set_logger(&level::Logger);
    log::set_max_level(log::LevelFilter::Trace);
}

/// The begun lines of domains other than Dom0.
static LINES: Mutex<BTreeMap<u16, Vec<u8>>> = Mutex::new(BTreeMap::new());
/// Longest line kept for a domain.
const MAX_LINE: usize = 160;

/// What a domain writes to its hypervisor console. Dom0's output goes out as it is: it is the machine's terminal.
/// Other domains' lines are kept until they are whole, and are messages about a guest.
pub fn guest_write(domain: &Domain, bytes: &[u8]) {
    if domain.privileged {
        // As on Xen it is not for the ring, which holds the hypervisor's own messages.
        return OUTPUT.lock().send(bytes);
    }
    let mut lines = LINES.lock();
    let line = lines.entry(domain.id).or_default();
    for &b in bytes {
        match b {
            b'\n' => {
                limited!(log::Level::Info, "(d{}) {}", domain.id, Printable(line));
                line.clear();
            }
            b' '..=b'~' | b'\t' if line.len() < MAX_LINE => line.push(b),
            _ => {}
        }
    }
}

/// Domain `id` is no more: forgets its begun line.
pub fn forget_guest(id: u16) {
    LINES.lock().remove(&id);
}

/// ASCII bytes as text.
struct Printable<'a>(&'a [u8]);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| f.write_char(*b as char))
    }
}
