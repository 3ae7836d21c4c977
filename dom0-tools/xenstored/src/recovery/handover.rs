//! Update in place: this process becomes another program and keeps every connection.
//!
//! The state goes into a file in memory; it and all descriptors are sent to ourselves through a socket pair, whose other
//! end is the new program's standard input. So the descriptors arrive as owned ones, nothing else survives by accident,
//! and a program that takes nothing over closes everything by ending.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use super::state;
use crate::connection::Link;
use crate::daemon::Daemon;
use crate::record::{Reader, Tag, begin, put_bytes, put_number};

/// The layout of what is handed over; a program only goes on from one with the same.
pub const LAYOUT: &str = "paravane-xenstored-handover-1";
/// The argument that makes a program print [`LAYOUT`].
pub const SHOW_LAYOUT: &str = "--show-handover";
/// The argument that makes a program take over what is at its standard input.
pub const TAKE_OVER: &str = "--take-over";
/// Descriptors in one message; the kernel's limit is 253.
const PER_MESSAGE: usize = 200;

/// What came over.
pub struct Received {
    /// Records.
    pub state: Vec<u8>,
    /// The listening socket.
    pub listener: OwnedFd,
    /// The event channel device and the port of ended domains.
    pub events: Option<(OwnedFd, u32)>,
    /// The clients' sockets.
    pub sockets: Vec<OwnedFd>,
}

/// Whether a program can take over from this one.
pub fn check_program(program: &Path) -> Result<(), String> {
    let answer = Command::new(program)
        .arg(SHOW_LAYOUT)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot be run: {error}"))?;
    if String::from_utf8_lossy(&answer.stdout).trim() == LAYOUT {
        Ok(())
    } else {
        Err(format!(
            "does not take over from this release (needs {LAYOUT}): stop xenstored and start it instead"
        ))
    }
}

/// Becomes `program`. Only comes back with an error, and then everything is as before.
pub fn hand_over(daemon: &Daemon, listener: BorrowedFd<'_>, program: &Path, arguments: &[String]) -> io::Error {
    match prepare(daemon, listener) {
        Ok(input) => Command::new(program)
            .args(arguments)
            .arg(TAKE_OVER)
            .stdin(Stdio::from(input))
            .exec(),
        Err(error) => error,
    }
}

/// Puts everything into a socket pair; gives the end to read from.
fn prepare(daemon: &Daemon, listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut records = Vec::new();
    put_number(&mut records, daemon.host.exit_port().map_or(u64::MAX, u64::from));
    let mut descriptors = Vec::new();
    state::put_all(&mut records, daemon);
    if daemon.logging {
        begin(&mut records, Tag::Logging);
    }
    for (slot, connection) in daemon.connections.iter().enumerate() {
        let Some(connection) = connection else { continue };
        let Link::Socket(socket) = &connection.link else {
            continue;
        };
        descriptors.push(socket.as_fd());
        begin(&mut records, Tag::Socket);
        put_number(&mut records, slot as u64);
        put_number(&mut records, connection.next_transaction.into());
        put_bytes(&mut records, &connection.input);
        put_bytes(&mut records, connection.output.pending());
        for watch in &connection.watches {
            state::put_watch(&mut records, Tag::SocketWatch, slot as u64, watch);
        }
    }
    let file = rustix::fs::memfd_create("xenstored-state", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = File::from(file);
    file.write_all(&records)?;
    let mut all = vec![file.as_fd(), listener];
    all.extend(daemon.host.events());
    all.extend(descriptors);
    send_all(&all)
}

fn send_all(descriptors: &[BorrowedFd<'_>]) -> io::Result<OwnedFd> {
    let (near, far) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    for chunk in descriptors.chunks(PER_MESSAGE) {
        let mut room = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PER_MESSAGE))];
        let mut control = SendAncillaryBuffer::new(&mut room);
        control.push(SendAncillaryMessage::ScmRights(chunk));
        sendmsg(&near, &[IoSlice::new(b"x")], &mut control, SendFlags::empty())?;
    }
    Ok(far)
}

/// Takes over what an earlier program of this process has left at standard input.
pub fn receive() -> io::Result<Received> {
    let mut descriptors = Vec::new();
    loop {
        let mut byte = [0];
        let mut room = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PER_MESSAGE))];
        let mut control = RecvAncillaryBuffer::new(&mut room);
        let stdin = io::stdin();
        let message = recvmsg(
            &stdin,
            &mut [IoSliceMut::new(&mut byte)],
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        if message.bytes == 0 {
            break;
        }
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(list) = part {
                descriptors.extend(list);
            }
        }
    }
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    let mut descriptors = descriptors.into_iter();
    let missing = || io::Error::new(io::ErrorKind::InvalidData, "the earlier program handed over too little");
    let mut file = File::from(descriptors.next().ok_or_else(missing)?);
    let listener = descriptors.next().ok_or_else(missing)?;
    let mut state = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut state)?;
    let port = Reader::new(&state).number().map_err(|_| missing())?;
    let events = match u32::try_from(port) {
        Ok(port) => Some((descriptors.next().ok_or_else(missing)?, port)),
        Err(_) => None,
    };
    Ok(Received {
        state: state.split_off(8),
        listener,
        events,
        sockets: descriptors.collect(),
    })
}
