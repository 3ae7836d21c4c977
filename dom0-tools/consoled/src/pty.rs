//! The pseudo terminal at which a person reads a guest's console.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use nix::sys::stat::{Mode, fchmod};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::ttyname;

/// Both ends of a pty. The slave's stays open here, so that it lives on when a person leaves.
#[derive(Debug)]
pub struct Pty {
    master: File,
    slave: OwnedFd,
    name: String,
}

impl Pty {
    /// A new pty in raw mode: what the guest sends arrives as sent, and nothing is echoed back to it.
    pub fn open() -> io::Result<Self> {
        let pair = openpty(None, None)?;
        let mut settings = tcgetattr(&pair.slave)?;
        cfmakeraw(&mut settings);
        tcsetattr(&pair.slave, SetArg::TCSANOW, &settings)?;
        fchmod(&pair.slave, Mode::S_IRUSR | Mode::S_IWUSR)?;
        for end in [&pair.master, &pair.slave] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        fcntl(&pair.master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK | OFlag::O_RDWR))?;
        let name = ttyname(&pair.slave)?.to_string_lossy().into_owned();
        Ok(Self {
            master: pair.master.into(),
            slave: pair.slave,
            name,
        })
    }

    /// The slave's path, `/dev/pts/3`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The end to write the guest's output to. Never waits.
    pub fn output(&mut self) -> &mut File {
        &mut self.master
    }

    /// Reads at most `into.len()` bytes of what a person typed; 0 if nothing waits.
    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.master.read(into) {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
            other => other,
        }
    }

    /// Whether bytes lie at the slave that nobody has read. Closing the pty loses them.
    pub fn has_unread(&self) -> io::Result<bool> {
        let mut fds = [PollFd::new(self.slave.as_fd(), PollFlags::POLLIN)];
        poll(
            &mut fds,
            PollTimeout::try_from(Duration::ZERO).unwrap_or(PollTimeout::ZERO),
        )?;
        Ok(fds[0]
            .revents()
            .is_some_and(|events| events.contains(PollFlags::POLLIN)))
    }
}

impl AsFd for Pty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write;

    use super::*;

    #[test]
    fn bytes_pass_both_ways_unchanged_and_without_echo() {
        let mut pty = Pty::open().expect("opens");
        let mut person = OpenOptions::new()
            .read(true)
            .write(true)
            .open(pty.name())
            .expect("opens the slave");
        pty.output().write_all(b"login:\n\x03").expect("writes");
        let mut seen = [0; 16];
        let count = person.read(&mut seen).expect("reads");
        assert_eq!(&seen[..count], b"login:\n\x03");
        person.write_all(b"root\r\x04").expect("writes");
        let mut typed = [0; 16];
        let count = pty.read(&mut typed).expect("reads");
        assert_eq!(&typed[..count], b"root\r\x04");
        assert_eq!(pty.read(&mut typed).expect("nothing waits"), 0);
    }

    #[test]
    fn a_person_may_leave_and_come_back() {
        let mut pty = Pty::open().expect("opens");
        drop(OpenOptions::new().read(true).open(pty.name()).expect("opens the slave"));
        pty.output().write_all(b"while away").expect("writes");
        assert!(pty.has_unread().expect("polls"));
        let mut person = OpenOptions::new().read(true).open(pty.name()).expect("opens the slave");
        let mut seen = [0; 16];
        let count = person.read(&mut seen).expect("reads");
        assert_eq!(&seen[..count], b"while away");
        assert!(!pty.has_unread().expect("polls"));
    }

    #[test]
    fn a_pty_that_nobody_reads_does_not_hold_the_daemon() {
        let mut pty = Pty::open().expect("opens");
        let mut total = 0;
        loop {
            match pty.output().write(&[b'x'; 1024]) {
                Ok(count) => total += count,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    break;
                }
            }
            assert!(total < 1 << 20, "a pty holds a few pages");
        }
    }
}
