//! Which messages are shown: a level for the hypervisor's own, another for what guests can bring about, and a limit to
//! how many of those there may be.

use core::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use xen_logic::cmdline::{Level, Options};

/// Levels that are shown in any case, and at a limited rate: the hypervisor's, then about guests.
static SHOWN: [AtomicU8; 4] = [
    AtomicU8::new(Level::Info as u8),
    AtomicU8::new(Level::Info as u8),
    AtomicU8::new(Level::Error as u8),
    AtomicU8::new(Level::Warning as u8),
];

/// Takes the levels from the command line.
pub fn set_levels(options: &Options) {
    let levels = [
        options.loglvl.always,
        options.loglvl.limited,
        options.guest_loglvl.always,
        options.guest_loglvl.limited,
    ];
    for (slot, level) in SHOWN.iter().zip(levels) {
        slot.store(level as u8, Relaxed);
    }
}

fn weight(level: log::Level) -> u8 {
    (match level {
        log::Level::Error => Level::Error,
        log::Level::Warn => Level::Warning,
        log::Level::Info => Level::Info,
        log::Level::Debug | log::Level::Trace => Level::Debug,
    }) as u8
}

/// The `log` crate's way to the console.
pub(super) struct Logger;

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata) -> bool {
        weight(metadata.level()) <= SHOWN[0].load(Relaxed)
    }

    fn log(&self, record: &log::Record) {
        if self.enabled(record.metadata()) {
            super::message(&mut super::OUTPUT.lock(), *record.args());
        }
    }

    fn flush(&self) {}
}

/// How many messages one place may still print: ten at once, then one in each half second.
pub struct Bucket {
    /// The time at which the bucket would be full again.
    full_at: AtomicU64,
    dropped: AtomicU64,
}

const BURST: u64 = 10;
const PERIOD_NS: u64 = 500_000_000;

impl Bucket {
    /// A full bucket.
    pub const fn new() -> Self {
        Self {
            full_at: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Takes one; if none is left, that is counted.
    fn take(&self, now: u64) -> bool {
        let take = |full_at: u64| {
            let next = full_at.max(now) + PERIOD_NS;
            (next <= now + BURST * PERIOD_NS).then_some(next)
        };
        let taken = self.full_at.fetch_update(Relaxed, Relaxed, take).is_ok();
        if !taken {
            self.dropped.fetch_add(1, Relaxed);
        }
        taken
    }

    /// Prints a message about what a guest did, if its level is shown and the limit allows it.
    pub fn print(&self, level: log::Level, args: core::fmt::Arguments) {
        let weight = weight(level);
        let in_any_case = weight <= SHOWN[2].load(Relaxed);
        let maybe = weight <= SHOWN[3].load(Relaxed);
        if !in_any_case && (!maybe || !self.take(crate::time::clock::now())) {
            return;
        }
        let mut out = super::OUTPUT.lock();
        match self.dropped.swap(0, Relaxed) {
            0 => super::message(&mut out, args),
            n => super::message(&mut out, format_args!("{args} ({n} like this were not shown)")),
        }
    }
}

/// Logs what a guest can bring about: `limited!(log::Level::Warn, "text {}", x)`. Each place has its own limit.
macro_rules! limited {
    ($level:expr, $($text:tt)+) => {{
        static BUCKET: $crate::console::Bucket = $crate::console::Bucket::new();
        BUCKET.print($level, format_args!($($text)+));
    }};
}
pub(crate) use limited;
