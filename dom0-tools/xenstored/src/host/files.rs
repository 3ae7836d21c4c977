//! A hypervisor made of files, for tests: the same layout as `tests/peer/hypervisor.c`, which the C daemon runs on.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use privcmd::{Mapping, PAGE_SIZE};

use super::{Host, Page, State};

/// The port that tells of ended domains.
const EXIT_PORT: u32 = 1;

/// A directory that plays hypervisor.
pub struct Files {
    directory: PathBuf,
    events: File,
}

impl Files {
    /// Opens the directory's pipe of events.
    pub fn open(directory: &Path) -> io::Result<Files> {
        let events = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
            .open(directory.join("events"))?;
        Ok(Files {
            directory: directory.to_path_buf(),
            events,
        })
    }

    fn entry(&self, kind: &str, domain: u16) -> PathBuf {
        self.directory.join(format!("{kind}.{domain}"))
    }
}

impl Host for Files {
    fn state(&self, domain: u16) -> Option<State> {
        let text = std::fs::read(self.entry("domain", domain)).ok()?;
        Some(State {
            shutdown: text.first() == Some(&b's'),
            dying: text.first() == Some(&b'd'),
        })
    }

    fn map_ring(&self, domain: u16, _frame: u64) -> io::Result<Page> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.entry("ring", domain))?;
        Ok(Page::new(Box::new(Mapping::of_file(&file, 0, PAGE_SIZE, true)?)))
    }

    fn own_ring(&self) -> io::Result<Option<(Page, u32)>> {
        Ok(Some((self.map_ring(0, 0)?, 1)))
    }

    fn bind(&self, domain: u16, port: u32) -> io::Result<u32> {
        Ok(u32::from(domain) * 65536 + port)
    }

    fn unbind(&self, _port: u32) {}

    fn notify(&self, _port: u32) {}

    fn take_events(&self, ports: &mut Vec<u32>) -> io::Result<()> {
        let mut bytes = [0; 64 * 4];
        match (&self.events).read(&mut bytes) {
            Ok(count) => {
                let words = bytes[..count].chunks_exact(4);
                ports.extend(words.map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]])));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn events(&self) -> Option<BorrowedFd<'_>> {
        Some(self.events.as_fd())
    }

    fn exit_port(&self) -> Option<u32> {
        Some(EXIT_PORT)
    }
}
