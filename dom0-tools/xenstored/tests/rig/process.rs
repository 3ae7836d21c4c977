//! A daemon as a process, ours or Xen's C one, on a hypervisor made of files; and clients at its socket and rings.
#![allow(dead_code, unreachable_pub)]

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant};

use privcmd::{Mapping, PAGE_SIZE};
use xenstore_proto::{Header, Kind, append_message, ring, split_message};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// One message: kind, request, transaction, payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    pub kind: Kind,
    pub request: u32,
    pub transaction: u32,
    pub payload: Vec<u8>,
}

/// A directory that plays hypervisor, with the daemon's socket.
pub struct Machine {
    pub directory: tempfile::TempDir,
    events: File,
}

impl Machine {
    pub fn new() -> Machine {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("events");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let events = OpenOptions::new().read(true).write(true).open(fifo).unwrap();
        let machine = Machine { directory, events };
        machine.make_domain(0);
        std::fs::write(machine.path("port.0"), "1").unwrap();
        machine
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn make_domain(&self, domain: u16) {
        std::fs::write(self.path(&format!("domain.{domain}")), "r").unwrap();
        std::fs::write(self.path(&format!("ring.{domain}")), [0; PAGE_SIZE]).unwrap();
    }

    pub fn set_state(&self, domain: u16, state: &str) {
        std::fs::write(self.path(&format!("domain.{domain}")), state).unwrap();
        self.send_event(1);
    }

    pub fn end_domain(&self, domain: u16) {
        std::fs::remove_file(self.path(&format!("domain.{domain}"))).unwrap();
        self.send_event(1);
    }

    pub fn send_event(&self, port: u32) {
        (&self.events).write_all(&port.to_ne_bytes()).unwrap();
    }

    /// Starts our daemon and waits for its socket.
    pub fn start(&self) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xenstored"));
        command.arg("--foreground").arg("--files").arg(self.directory.path());
        self.start_command(command)
    }

    pub fn start_command(&self, mut command: Command) -> Daemon {
        let _ = std::fs::remove_file(self.path("socket"));
        command
            .env("XENSTORED_RUNDIR", self.directory.path())
            .env("FAKE_HOST", self.directory.path());
        command.env_remove("XENSTORED_PATH");
        let log = File::create(self.path("log")).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let daemon = Daemon { child };
        let end = Instant::now() + PATIENCE;
        while UnixStream::connect(self.path("socket")).is_err() {
            assert!(
                Instant::now() < end,
                "no daemon: {}",
                std::fs::read_to_string(self.path("log")).unwrap()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        daemon
    }

    pub fn connect(&self) -> Client {
        let socket = UnixStream::connect(self.path("socket")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Client {
            door: Door::Socket(socket),
            input: Vec::new(),
            next: 0,
        }
    }

    /// A client at a domain's ring, which must be introduced.
    pub fn ring(&self, domain: u16, port: u32) -> Client {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path(&format!("ring.{domain}")))
            .unwrap();
        let page = Mapping::of_file(&file, 0, PAGE_SIZE, true).unwrap();
        let events = self.events.try_clone().unwrap();
        let port = u32::from(domain) * 65536 + port;
        Client {
            door: Door::Ring(RingDoor { page, events, port }),
            input: Vec::new(),
            next: 0,
        }
    }
}

/// A running daemon; killed when dropped.
pub struct Daemon {
    child: Child,
}

impl Daemon {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn kill(mut self) {
        self.end();
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.end();
    }
}

enum Door {
    Socket(UnixStream),
    Ring(RingDoor),
}

struct RingDoor {
    page: Mapping,
    events: File,
    port: u32,
}

impl RingDoor {
    fn notify(&self) {
        (&self.events).write_all(&self.port.to_ne_bytes()).unwrap();
    }

    fn send(&self, bytes: &[u8]) {
        let end = Instant::now() + PATIENCE;
        let mut rest = bytes;
        while !rest.is_empty() {
            let producer = self.page.load_u32(ring::REQUEST_PRODUCER, Acquire);
            let free = ring::free(self.page.load_u32(ring::REQUEST_CONSUMER, Acquire), producer).unwrap();
            let count = (free as usize).min(rest.len());
            for (offset, length) in ring::stretches(producer, count as u32) {
                self.page.write(ring::REQUESTS + offset, &rest[..length]);
                rest = &rest[length..];
            }
            self.page
                .store_u32(ring::REQUEST_PRODUCER, producer.wrapping_add(count as u32), Release);
            if count != 0 {
                self.notify();
            } else {
                assert!(Instant::now() < end, "the daemon takes nothing");
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    }

    fn receive(&self, input: &mut Vec<u8>) -> bool {
        let consumer = self.page.load_u32(ring::REPLY_CONSUMER, Acquire);
        let used = ring::used(consumer, self.page.load_u32(ring::REPLY_PRODUCER, Acquire)).unwrap();
        for (offset, length) in ring::stretches(consumer, used) {
            let at = input.len();
            input.resize(at + length, 0);
            self.page.read(ring::REPLIES + offset, &mut input[at..]);
        }
        self.page
            .store_u32(ring::REPLY_CONSUMER, consumer.wrapping_add(used), Release);
        if used == ring::SIZE {
            self.notify();
        }
        used != 0
    }
}

/// A client that sends and receives messages as they are.
pub struct Client {
    door: Door,
    input: Vec<u8>,
    next: u32,
}

impl Client {
    /// Sends a request; gives its number.
    pub fn send(&mut self, kind: Kind, transaction: u32, payload: &[u8]) -> u32 {
        self.next += 1;
        let mut bytes = Vec::new();
        append_message(&mut bytes, kind, self.next, transaction, payload);
        self.send_bytes(&bytes);
        self.next
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        match &mut self.door {
            Door::Socket(socket) => socket.write_all(bytes).unwrap(),
            Door::Ring(ring) => ring.send(bytes),
        }
    }

    /// The next message; none when the daemon has closed the connection.
    pub fn receive(&mut self) -> Option<Message> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some((header, payload)) = split_message(&self.input).unwrap() {
                let Header {
                    kind,
                    request,
                    transaction,
                    ..
                } = header;
                let message = Message {
                    kind,
                    request,
                    transaction,
                    payload: payload.to_vec(),
                };
                self.input.drain(..Header::SIZE + message.payload.len());
                return Some(message);
            }
            assert!(Instant::now() < end, "no answer");
            match &mut self.door {
                Door::Socket(socket) => {
                    let mut buffer = [0; 65536];
                    match socket.read(&mut buffer) {
                        Ok(0) => return None,
                        Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                        Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                        Err(error) => panic!("{error}"),
                    }
                }
                Door::Ring(ring) => {
                    if !ring.receive(&mut self.input) {
                        std::thread::sleep(Duration::from_micros(200));
                    }
                }
            }
        }
    }

    /// A request and everything that comes up to and with its answer.
    pub fn exchange(&mut self, kind: Kind, transaction: u32, payload: &[u8]) -> Vec<Message> {
        let number = self.send(kind, transaction, payload);
        let mut all = Vec::new();
        loop {
            let message = self.receive().expect("the daemon closed the connection");
            let last = message.kind != Kind::WATCH_EVENT && message.request == number;
            all.push(message);
            if last {
                return all;
            }
        }
    }

    /// A request's answer.
    pub fn call(&mut self, kind: Kind, transaction: u32, payload: &[u8]) -> Message {
        self.exchange(kind, transaction, payload).pop().unwrap()
    }
}

/// Where Debian's C xenstored was unpacked, if it was: `XENSTORED_PEER` names the directory.
pub fn peer() -> Option<PathBuf> {
    let directory = PathBuf::from(std::env::var_os("XENSTORED_PEER")?);
    let program = directory.join("usr/lib/xen-4.17/bin/xenstored");
    assert!(
        program.exists(),
        "{}: not there: unpack Debian's xen-utils-4.17 into it",
        program.display()
    );
    Some(directory)
}

/// The command that runs the C daemon on the files.
pub fn peer_command(peer: &Path, machine: &Machine) -> Command {
    let library = machine.path("hypervisor.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peer/hypervisor.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([library.as_os_str(), source.as_os_str()])
        .arg("-ldl")
        .status()
        .expect("cc, the C compiler");
    assert!(built.success());
    let mut command = Command::new(peer.join("usr/lib/xen-4.17/bin/xenstored"));
    let libraries = ["usr/lib/x86_64-linux-gnu", "usr/lib/xen-4.17/lib/x86_64-linux-gnu"];
    let libraries: Vec<String> = libraries
        .iter()
        .map(|path| peer.join(path).display().to_string())
        .collect();
    command
        .args(["-N", "-I"])
        .env("LD_LIBRARY_PATH", libraries.join(":"))
        .env("LD_PRELOAD", library);
    command
}
