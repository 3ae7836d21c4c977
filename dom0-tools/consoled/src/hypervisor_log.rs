//! The hypervisor's own console, as a log.

use std::path::Path;
use std::time::{Duration, Instant};

use privcmd::{EventChannel, Port};
use xenctrl::{Live, Machine};

use crate::log::{Log, Style};
use crate::report::report;

/// Raised by the hypervisor when its console ring has grown (`VIRQ_CON_RING`).
const VIRQ_CON_RING: u32 = 8;
/// Bytes read at once: the ring's usual size.
const ROOM: usize = 16 << 10;
/// How often to look when somebody else holds the virtual interrupt.
const LOOK: Duration = Duration::from_secs(1);

/// Follows the hypervisor's console ring.
#[derive(Debug)]
pub struct HypervisorLog {
    log: Log,
    port: Option<Port>,
    index: u32,
    next: Instant,
}

impl HypervisorLog {
    /// Opens the log and writes what the ring holds.
    pub fn open(dir: &Path, style: Style, events: &EventChannel, control: &Live) -> std::io::Result<Self> {
        let log = Log::open(dir.join("hypervisor.log"), style)?;
        let port = events.bind_virq(VIRQ_CON_RING).ok();
        let mut this = Self {
            log,
            port,
            index: 0,
            next: Instant::now(),
        };
        this.follow(events, control);
        Ok(this)
    }

    /// The port of its virtual interrupt.
    pub fn port(&self) -> Option<Port> {
        self.port
    }

    /// Writes what is new in the ring.
    pub fn follow(&mut self, events: &EventChannel, control: &Live) {
        if let Err(error) = self.copy(control) {
            report(&format!("hypervisor log: {error}"));
        }
        if let Some(port) = self.port {
            // Our own port: it is bound.
            let _ = events.unmask(port);
        }
        self.next = Instant::now() + LOOK;
    }

    fn copy(&mut self, control: &Live) -> std::io::Result<()> {
        loop {
            let piece = control
                .read_console(false, true, self.index, ROOM)
                .map_err(std::io::Error::other)?;
            if piece.bytes.is_empty() {
                return Ok(());
            }
            self.index = piece.index;
            self.log.write(&piece.bytes)?;
        }
    }

    /// When to look without an event.
    pub fn deadline(&self) -> Option<Instant> {
        self.port.is_none().then_some(self.next)
    }

    /// Opens the file anew, after it was moved away.
    pub fn reopen(&mut self) -> std::io::Result<()> {
        self.log.reopen()
    }
}
