//! QEMU's machine protocol: one JSON object a line, over a socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// A connection to a running QEMU.
#[derive(Debug)]
pub struct Qmp {
    reader: BufReader<UnixStream>,
    stream: UnixStream,
    events: Vec<(String, Value)>,
}

impl Qmp {
    /// Connects and agrees on capabilities.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut qmp = Self {
            reader: BufReader::new(stream.try_clone()?),
            stream,
            events: Vec::new(),
        };
        qmp.receive()?;
        qmp.execute("qmp_capabilities", &json!({}))?;
        Ok(qmp)
    }

    fn receive(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            bail!("QEMU closed its monitor");
        }
        serde_json::from_str(&line).context("QEMU's monitor speaks no JSON")
    }

    /// Runs a command and gives its result; events that come between are kept.
    pub fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let request = json!({ "execute": command, "arguments": arguments });
        self.stream.write_all(format!("{request}\n").as_bytes())?;
        loop {
            let mut answer = self.receive()?;
            if let Some(event) = answer["event"].as_str() {
                self.events.push((event.to_owned(), answer["data"].clone()));
            } else if let Some(error) = answer["error"]["desc"].as_str() {
                bail!("QEMU: {command}: {error}");
            } else {
                return Ok(answer["return"].take());
            }
        }
    }

    /// Waits until the machine is shut down and gives the reason, as QEMU names it.
    pub fn wait_shutdown(&mut self, limit: Duration) -> Result<String> {
        self.stream.set_read_timeout(Some(limit))?;
        loop {
            if let Some((_, data)) = self.events.iter().find(|(name, _)| name == "SHUTDOWN") {
                return Ok(data["reason"].as_str().unwrap_or_default().to_owned());
            }
            let answer = self.receive().context("the machine did not shut down")?;
            if let Some(event) = answer["event"].as_str() {
                self.events.push((event.to_owned(), answer["data"].clone()));
            }
        }
    }

    /// Reads machine memory, by way of a file that QEMU writes.
    pub fn read_memory(&mut self, address: u64, length: usize, scratch: &Path) -> Result<Vec<u8>> {
        let file = scratch.join("memory.bin");
        self.execute(
            "pmemsave",
            &json!({ "val": address, "size": length, "filename": file.to_string_lossy() }),
        )?;
        let bytes = crate::workspace::read(&file)?;
        if bytes.len() != length {
            bail!("QEMU saved {} of {length} bytes at {address:#x}", bytes.len());
        }
        Ok(bytes)
    }
}
