//! Linux's frontends against the driver domain in Rust: a guest with Debian's kernel that runs its cases from a shell.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};

use anyhow::{Context, Result};

use super::ConformArgs;
use super::matrix::Column;
use crate::dom0::{payload, sample, tools};
use crate::guest::iodom::{self, Load};
use crate::guest::{Backend, GuestArgs};
use crate::progress::Step;
use crate::setup::{Overrides, kernel};
use crate::workspace::{self, Scratch};

const SCRIPT: &[u8] = include_bytes!("linux.sh");
/// What the guest prints for the case that its reader judges, and how often.
const CONSOLE_CASE: &str = "console/more-than-the-ring";
const CONSOLE_LINES: usize = 256;
/// MiB of the guest, and of its disk.
const MEMORY: u64 = 256;
const DISK: u64 = 64;

/// Boots the guest and gives its column.
pub fn column(args: &ConformArgs, over: &Overrides) -> Result<Column> {
    let step = Step::new("Linux's frontends against iodom's backends".to_owned());
    let mut lines = Vec::new();
    let result = run(args, over, &mut lines);
    judge_console(&mut lines);
    let column = Column::parse("Linux's frontends, iodom's backends".to_owned(), &lines, result.err());
    step.done(column.summary());
    Ok(column)
}

fn run(args: &ConformArgs, over: &Overrides, lines: &mut Vec<String>) -> Result<()> {
    let peer = echo_server()?;
    let scratch = Scratch::new()?;
    let options = GuestArgs {
        limit: args.limit,
        ..GuestArgs::plain("linux", Backend::Iodom, args.hv.clone())
    };
    let load = load(args, over, peer)?;
    let mut show = |line: &str| {
        // What is no verdict tells why one is missing: the kernel's words, the shell's complaints.
        if !["case ", "cases ", "console "]
            .iter()
            .any(|word| line.starts_with(word))
        {
            eprintln!("linux: {line}");
        }
        lines.push(line.to_owned());
    };
    iodom::run_load(&options, over, &load, scratch.path(), &mut show).map(drop)
}

/// The guest: kernel, RAM disk and configuration.
fn load(args: &ConformArgs, over: &Overrides, peer: u16) -> Result<Load> {
    let kernel = kernel::find(over)?;
    let mut disk = sample::busybox_disk(&kernel, SCRIPT, &[])?;
    disk.file("bin/xenstore", 0o755, &workspace::read(&tools::single("xenstore")?)?);
    let broken = args.broken.iter().map(|name| format!(" broken={name}"));
    let words: String = broken.chain([format!(" only={}", args.cases)]).collect();
    Ok(Load {
        name: "linux".to_owned(),
        kernel: workspace::read(&payload::vmlinux(&kernel.image)?)?,
        initrd: Some(disk.finish()),
        config: format!(
            "memory={MEMORY}\nvcpus=2\nextra=console=hvc0 quiet loglevel=4 panic=1 peer={peer}{words}\n\
             disk=xvda\ndisk=xvdb,0,r\nnet=yes\n"
        ),
        memory: MEMORY,
        disk: DISK,
        net: true,
    })
}

/// A server of this machine that sends back what it is sent, for as long as this process lives; its port.
fn echo_server() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no port for the guest's peer")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                // It fails where the guest goes in between, which its cases do on purpose.
                let _ = send_back(&stream);
            });
        }
    });
    Ok(port)
}

fn send_back(stream: &TcpStream) -> io::Result<()> {
    let (mut reader, mut writer) = (stream, stream);
    io::copy(&mut reader, &mut writer)?;
    stream.shutdown(Shutdown::Write)
}

/// Adds the verdict on what came over the console, where the guest has run that case: every line once and in order.
fn judge_console(lines: &mut Vec<String>) {
    let numbers: Vec<usize> = lines
        .iter()
        .filter_map(|line| line.trim().strip_prefix("console ")?.split(' ').next()?.parse().ok())
        .collect();
    if numbers.is_empty() {
        return;
    }
    let verdict = match numbers.iter().zip(1..).find(|(found, expected)| **found != *expected) {
        None if numbers.len() == CONSOLE_LINES => "pass".to_owned(),
        None => format!("fail {} of {CONSOLE_LINES} lines came", numbers.len()),
        Some((found, expected)) => format!("fail line {found} came in the place of line {expected}"),
    };
    lines.push(format!("case {CONSOLE_CASE} {verdict}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(numbers: impl Iterator<Item = usize>) -> Option<String> {
        let mut lines: Vec<String> = numbers.map(|number| format!("console {number} ....\r")).collect();
        judge_console(&mut lines);
        lines.pop().filter(|line| line.starts_with("case "))
    }

    #[test]
    fn the_console_is_judged_by_what_came() {
        assert_eq!(judged(1..=256).as_deref(), Some("case console/more-than-the-ring pass"));
        for lost in [1, 100, 256] {
            let verdict = judged((1..=256).filter(|number| *number != lost)).expect("a verdict");
            assert!(verdict.contains(" fail "), "{lost}: {verdict}");
        }
        assert_eq!(judged(0..0), None);
    }

    #[test]
    fn the_peer_sends_back_what_it_is_sent() {
        use std::io::{Read, Write};
        let mut stream = TcpStream::connect(("127.0.0.1", echo_server().unwrap())).unwrap();
        stream.write_all(b"there and back").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut back = String::new();
        stream.read_to_string(&mut back).unwrap();
        assert_eq!(back, "there and back");
    }

    #[test]
    fn every_case_of_the_script_has_its_function() {
        let script = std::str::from_utf8(SCRIPT).unwrap();
        let (_, list) = script.split_once("CASES=\"").unwrap();
        let (list, _) = list.split_once('"').unwrap();
        let names: Vec<&str> = list.split_whitespace().collect();
        assert!(names.len() > 20);
        for name in names {
            let function = format!("\n{}() {{", name.replace(['/', '-'], "_"));
            assert!(script.contains(&function), "{name}");
        }
    }
}
