//! A running QEMU whose console is read by this process.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Machine;
use super::qmp::Qmp;

#[derive(Debug, Default)]
struct Output {
    bytes: Vec<u8>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    output: Mutex<Output>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A guest; it is killed when the value is dropped.
#[derive(Debug)]
pub struct Guest {
    child: Child,
    stdin: Option<ChildStdin>,
    shared: Arc<Shared>,
    begun: Instant,
}

/// What a wait saw.
#[derive(Debug)]
pub enum Seen<T> {
    /// What was waited for.
    Found(T),
    /// The guest ended first.
    Ended,
    /// Neither came in time.
    TimedOut,
}

impl Guest {
    /// Starts QEMU with its first serial port on a pipe to us, and its own messages in the same stream.
    pub fn start(machine: &Machine) -> Result<Self> {
        let mut command = machine.command();
        command.arg("-chardev").arg(machine.console_device());
        command.args(["-serial", "chardev:console"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))?;
        let shared = Arc::new(Shared::default());
        let stdin = child.stdin.take();
        let streams: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|stream| Box::new(stream) as _),
            child.stderr.take().map(|stream| Box::new(stream) as _),
        ];
        for (index, stream) in streams.into_iter().flatten().enumerate() {
            let shared = Arc::clone(&shared);
            thread::spawn(move || pump(stream, &shared, index == 0));
        }
        Ok(Self {
            child,
            stdin,
            shared,
            begun: Instant::now(),
        })
    }

    /// QEMU's process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Time since the start.
    pub fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Everything printed so far, carriage returns removed.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.shared.lock().bytes).replace('\r', "")
    }

    /// Writes to the serial port.
    pub fn send(&mut self, text: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("the guest's input is closed")?;
        stdin.write_all(text.as_bytes())?;
        Ok(stdin.flush()?)
    }

    /// Waits until `find` finds what it looks for in the text printed so far.
    pub fn wait_for<T>(&self, limit: Duration, mut find: impl FnMut(&str) -> Option<T>) -> Seen<T> {
        let end = Instant::now() + limit;
        let mut length = usize::MAX;
        let mut output = self.shared.lock();
        loop {
            if output.bytes.len() != length {
                length = output.bytes.len();
                let text = String::from_utf8_lossy(&output.bytes).replace('\r', "");
                if let Some(found) = find(&text) {
                    return Seen::Found(found);
                }
            }
            if output.closed {
                return Seen::Ended;
            }
            let Some(left) = end.checked_duration_since(Instant::now()) else {
                return Seen::TimedOut;
            };
            output = match self.shared.changed.wait_timeout(output, left) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Waits for a piece of text; an error says what came instead.
    pub fn expect(&self, what: &str, limit: Duration) -> Result<()> {
        match self.wait_for(limit, |text| text.contains(what).then_some(())) {
            Seen::Found(()) => Ok(()),
            Seen::Ended => bail!("the machine ended before it printed `{what}`"),
            Seen::TimedOut => bail!("no `{what}` within {} s", limit.as_secs()),
        }
    }

    /// Waits for QEMU's end.
    pub fn wait_end(&mut self, limit: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= end {
                bail!("the machine did not end within {} s", limit.as_secs());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends QEMU now.
    pub fn kill(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Connects to the machine protocol; its socket appears a moment after the start.
    pub fn qmp(&mut self, socket: &Path) -> Result<Qmp> {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            match Qmp::connect(socket) {
                Ok(qmp) => return Ok(qmp),
                Err(error) if Instant::now() > end || self.child.try_wait()?.is_some() => {
                    return Err(error.context(format!("no monitor; the machine said: {}", self.text())));
                }
                Err(_) => thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.kill();
    }
}

fn pump(mut stream: Box<dyn Read + Send>, shared: &Shared, is_console: bool) {
    let mut chunk = [0; 8192];
    loop {
        let count = stream.read(&mut chunk).unwrap_or(0);
        let mut output = shared.lock();
        output.bytes.extend_from_slice(&chunk[..count]);
        if count == 0 {
            output.closed |= is_console;
        }
        shared.changed.notify_all();
        if count == 0 {
            return;
        }
    }
}
