//! The guest's pty, as the store names it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

/// An open pty, ours alone among xlr's consoles.
pub struct Tty {
    file: Flock<File>,
    /// What the pty has not taken yet.
    unsent: Vec<u8>,
    name: String,
}

/// What reading gave.
pub enum Read1 {
    /// That many bytes.
    Bytes(usize),
    /// None now.
    Nothing,
    /// The daemon has closed its end.
    Closed,
}

impl Tty {
    /// Opens the pty, in raw mode.
    pub fn open(name: &str) -> Result<Self> {
        // The name comes from the store: whatever stands there, only a terminal is opened, and never taken as ours.
        if !name.starts_with("/dev/") {
            bail!("the store names '{name}' as the console, which is no terminal; is xenconsoled running?");
        }
        let flags = OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(flags.bits());
        let file = options
            .open(name)
            .with_context(|| format!("cannot open the console {name}"))?;
        let mut settings = tcgetattr(&file).with_context(|| format!("{name} is no terminal"))?;
        let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => file,
            Err(_) => bail!("another xlr is attached to {name}: leave that one first"),
        };
        cfmakeraw(&mut settings);
        tcsetattr(&*file, SetArg::TCSANOW, &settings).with_context(|| format!("cannot set up {name}"))?;
        Ok(Self {
            file,
            unsent: Vec::new(),
            name: name.to_owned(),
        })
    }

    /// Its path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads what the guest has printed.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<Read1> {
        match (&*self.file).read(into) {
            Ok(0) => Ok(Read1::Closed),
            Ok(count) => Ok(Read1::Bytes(count)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(Read1::Nothing)
            }
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EIO as i32) => Ok(Read1::Closed),
            Err(error) => Err(error),
        }
    }

    /// Sends what was typed; what the pty does not take now stays for [`Tty::flush`].
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.unsent.extend(bytes);
        self.flush()
    }

    /// Sends what is left.
    pub fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match (&*self.file).write(&self.unsent) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The daemon has closed its end: reading tells.
                Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EIO as i32) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// So much waits to be sent that no more should be typed.
    pub fn is_congested(&self, most: usize) -> bool {
        self.unsent.len() >= most
    }

    /// Something waits to be sent.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }
}

impl AsFd for Tty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Two descriptors of a pty for tests: the daemon's end and the slave's path.
#[cfg(test)]
pub fn pair() -> (File, std::os::fd::OwnedFd, String) {
    let pair = nix::pty::openpty(None, None).expect("a pty");
    let name = nix::unistd::ttyname(&pair.slave).expect("its name");
    (pair.master.into(), pair.slave, name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_may_sit_there_and_only_at_a_terminal() {
        let (_master, _slave, name) = pair();
        let first = Tty::open(&name).expect("opens");
        let error = Tty::open(&name).err().expect("taken").to_string();
        assert!(error.contains("another xlr"), "{error}");
        drop(first);
        assert!(Tty::open(&name).is_ok());
        assert!(Tty::open("/dev/null").is_err());
        assert!(Tty::open("/etc/passwd").is_err());
        assert!(Tty::open("").is_err());
    }

    #[test]
    fn bytes_pass_and_a_closed_end_is_noticed() {
        let (mut master, slave, name) = pair();
        let mut tty = Tty::open(&name).expect("opens");
        let mut buffer = [0; 16];
        assert!(matches!(tty.read(&mut buffer), Ok(Read1::Nothing)));
        master.write_all(b"hi\r\n").expect("writes");
        assert!(matches!(tty.read(&mut buffer), Ok(Read1::Bytes(4))));
        assert_eq!(&buffer[..4], b"hi\r\n");
        tty.send(b"\x03").expect("sends");
        assert_eq!(master.read(&mut buffer).expect("reads"), 1);
        drop((master, slave));
        assert!(matches!(tty.read(&mut buffer), Ok(Read1::Closed)));
    }
}
