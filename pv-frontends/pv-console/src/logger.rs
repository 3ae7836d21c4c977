//! A sink for the crate `log`.

use alloc::format;

use log::{LevelFilter, Log, Metadata, Record};
use pv_hal::Hal;
use spin::Mutex;

use crate::Front;

/// Prints log records to a guest's console, a line each: `level target: message`.
///
/// A record never waits for the other end longer than it takes to give the CPU away a few times: what it has no room for
/// is lost, counted, and told of before the next record.
///
/// ```
/// # use pv_console::{Back, Front, Logger};
/// # use pv_hal::fake::Machine;
/// # let machine = Machine::new();
/// # let (daemon, guest) = (machine.add_domain(0), machine.add_domain(1));
/// # let (ring, port) = machine.console_backend(guest.id());
/// # let mut back = Back::new(&daemon, guest.id(), ring, port)?;
/// use log::{Level, LevelFilter, Record};
///
/// let logger = Logger::new(Front::new(&guest)?, LevelFilter::Info);
/// logger.print(&Record::builder().level(Level::Warn).target("disk").args(format_args!("slow")).build());
/// # let mut buffer = [0; 100];
/// # let count = back.try_read(&mut buffer)?;
/// # assert_eq!(&buffer[..count], b"warn disk: slow\n");
/// # Ok::<(), pv_console::Error>(())
/// ```
///
/// Where the [`Hal`] may be shared between threads it is a [`Log`], for `log::set_logger`.
pub struct Logger<H: Hal> {
    sink: Mutex<Sink<H>>,
    level: LevelFilter,
}

struct Sink<H: Hal> {
    console: Front<H>,
    lost: usize,
}

/// How often the CPU is given away for one record.
const PATIENCE: usize = 100;

impl<H: Hal> Logger<H> {
    /// A logger of records up to `level`.
    pub fn new(console: Front<H>, level: LevelFilter) -> Self {
        Self {
            sink: Mutex::new(Sink { console, lost: 0 }),
            level,
        }
    }

    /// Prints a record, if its level is one that is printed.
    pub fn print(&self, record: &Record<'_>) {
        if record.level() > self.level {
            return;
        }
        let level = record.level().as_str().to_ascii_lowercase();
        let line = format!("{level} {}: {}\n", record.target(), record.args());
        let mut sink = self.sink.lock();
        if sink.lost > 0 {
            let note = format!("warn log: {} records lost\n", sink.lost);
            if !sink.print(note.as_bytes()) {
                sink.lost += 1;
                return;
            }
            sink.lost = 0;
        }
        if !sink.print(line.as_bytes()) {
            sink.lost += 1;
        }
    }
}

impl<H: Hal> Sink<H> {
    /// Prints as much as finds room; false if that was not all.
    fn print(&mut self, mut bytes: &[u8]) -> bool {
        for _ in 0..PATIENCE {
            match self.console.try_write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(_) => return false,
            }
            if bytes.is_empty() {
                return true;
            }
            self.console.yield_now();
        }
        false
    }
}

impl<H: Hal + Send + Sync> Log for Logger<H>
where
    H::Pages: Send,
{
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level
    }

    fn log(&self, record: &Record<'_>) {
        self.print(record);
    }

    fn flush(&self) {}
}
