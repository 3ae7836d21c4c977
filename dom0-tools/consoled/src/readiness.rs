//! Which descriptors something can be done at: the kernel keeps the list, so that a wait costs what is ready and not what
//! is watched.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Most descriptors told of at once; the others follow next time.
const AT_ONCE: usize = 64;

/// What to wait for, or what has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    /// Bytes to read.
    pub read: bool,
    /// Room to write.
    pub write: bool,
}

impl Interest {
    /// Reading only.
    pub const READ: Self = Self {
        read: true,
        write: false,
    };

    fn is_none(self) -> bool {
        self == Self::default()
    }

    fn flags(self) -> EpollFlags {
        let mut flags = EpollFlags::empty();
        flags.set(EpollFlags::EPOLLIN, self.read);
        flags.set(EpollFlags::EPOLLOUT, self.write);
        flags
    }
}

/// The kernel's list. A descriptor that is closed leaves it by itself.
#[derive(Debug)]
pub struct Readiness(Epoll);

impl Readiness {
    /// An empty list.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    /// From now on waits for `now` at a descriptor, by the name of `token`; `before` is what it was waited for until now.
    pub fn set(&self, fd: impl AsFd, token: u64, before: Interest, now: Interest) -> io::Result<()> {
        let mut event = EpollEvent::new(now.flags(), token);
        match (before.is_none(), now.is_none()) {
            _ if before == now => {}
            (true, _) => self.0.add(fd, event)?,
            // An empty set would still tell of errors, for ever.
            (false, true) => self.0.delete(fd)?,
            (false, false) => self.0.modify(fd, &mut event)?,
        }
        Ok(())
    }

    /// Waits until something is ready, or for `most`, rounded up, so that nothing is looked at too early and again at once.
    pub fn wait(&self, most: Option<Duration>) -> io::Result<Vec<(u64, Interest)>> {
        let timeout = most.map_or(EpollTimeout::NONE, |most| {
            EpollTimeout::try_from(most + Duration::from_millis(1)).unwrap_or(EpollTimeout::MAX)
        });
        let mut events = [EpollEvent::empty(); AT_ONCE];
        let count = match self.0.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        // An error is found by whoever reads or writes there next.
        let failed = EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP;
        let ready = events[..count].iter().map(|event| {
            let has = |flag| event.events().intersects(flag | failed);
            let (read, write) = (has(EpollFlags::EPOLLIN), has(EpollFlags::EPOLLOUT));
            (event.data(), Interest { read, write })
        });
        Ok(ready.collect())
    }
}
