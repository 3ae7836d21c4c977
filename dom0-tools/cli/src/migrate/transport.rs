//! The way to the other host: a command whose input and output reach it, or a connection.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{setsockopt, sockopt};

/// A HOST that begins so is an address for a connection without a command.
pub const TCP: &str = "tcp:";
/// Seconds without a sign of life after which a connection is given up.
const SILENCE: u32 = 30;

/// Both directions of the way, and what keeps it up.
#[derive(Debug)]
pub struct Transport {
    /// What the other host says.
    pub from: File,
    /// What we say to it.
    pub to: File,
    child: Option<Child>,
}

impl Transport {
    /// Reaches `host` by the shell command `rune`, or, where it begins with `tcp:`, by a connection.
    pub fn open(host: &str, rune: &str) -> Result<Self> {
        match host.strip_prefix(TCP) {
            Some(address) => Self::connect(address),
            None => Self::run(rune),
        }
    }

    fn run(rune: &str) -> Result<Self> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", rune])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {rune:?}"))?;
        let (from, to) = (child.stdout.take(), child.stdin.take());
        let from = from
            .context("the command has no output")?
            .as_fd()
            .try_clone_to_owned()?;
        let to = to.context("the command has no input")?.as_fd().try_clone_to_owned()?;
        Ok(Self {
            from: from.into(),
            to: to.into(),
            child: Some(child),
        })
    }

    fn connect(address: &str) -> Result<Self> {
        let addresses = address.to_socket_addrs();
        let addresses = addresses.with_context(|| format!("{address:?} is no ADDRESS:PORT"))?;
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match TcpStream::connect_timeout(&address, Duration::from_secs(SILENCE.into())) {
                Ok(stream) => return Self::of_stream(stream),
                Err(error) => last = error,
            }
        }
        Err(last).with_context(|| format!("cannot reach {address}"))
    }

    /// Waits for one connection at `address`.
    pub fn listen(address: &str) -> Result<Self> {
        let listener = TcpListener::bind(address).with_context(|| format!("cannot listen at {address:?}"))?;
        let (stream, _) = listener.accept().context("no connection")?;
        Self::of_stream(stream)
    }

    fn of_stream(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        // A host that dies says nothing.
        setsockopt(&stream, sockopt::KeepAlive, &true)?;
        setsockopt(&stream, sockopt::TcpKeepIdle, &(SILENCE / 2))?;
        setsockopt(&stream, sockopt::TcpKeepInterval, &(SILENCE / 6))?;
        setsockopt(&stream, sockopt::TcpKeepCount, &3)?;
        setsockopt(&stream, sockopt::TcpUserTimeout, &(SILENCE * 1000))?;
        let from = stream.as_fd().try_clone_to_owned()?;
        let to = stream.as_fd().try_clone_to_owned()?;
        Ok(Self {
            from: from.into(),
            to: to.into(),
            child: None,
        })
    }

    /// Standard input and output, for a receiver that a sender's command has started.
    pub fn inherited() -> Result<Self> {
        Ok(Self {
            from: io::stdin().as_fd().try_clone_to_owned()?.into(),
            to: io::stdout().as_fd().try_clone_to_owned()?.into(),
            child: None,
        })
    }

    /// Ends it, and the command; how the command ended.
    pub fn close(self) -> Result<()> {
        let Self { from, to, child } = self;
        drop(to);
        let mut rest = Vec::new();
        // What is left to be said is not for us; without a reader the command could not end.
        let _ = from.take(1 << 16).read_to_end(&mut rest);
        if let Some(mut child) = child {
            let status = child.wait().context("the command to the other host")?;
            ensure!(status.success(), "the command to the other host ended with {status}");
        }
        Ok(())
    }
}

/// Writes in large pieces.
pub fn buffered<W: Write>(to: W) -> io::BufWriter<W> {
    io::BufWriter::with_capacity(1 << 20, to)
}
