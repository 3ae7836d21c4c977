//! What a guest has printed and nobody has read from its pty yet.

use std::collections::VecDeque;
use std::io::{self, Write};

/// What becomes of a guest that prints more than is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest bytes go: the guest never waits.
    Discard,
    /// The guest waits until somebody reads.
    Keep,
}

/// Bytes on their way to a pty, at most `limit` of them.
#[derive(Debug)]
pub struct Backlog {
    bytes: VecDeque<u8>,
    limit: usize,
    overflow: Overflow,
}

impl Backlog {
    /// An empty backlog.
    pub fn new(limit: usize, overflow: Overflow) -> Self {
        Self {
            bytes: VecDeque::new(),
            limit,
            overflow,
        }
    }

    /// Changes the limit; with [`Overflow::Discard`] what is beyond it goes.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
        self.push(&[]);
    }

    /// Adds bytes. With [`Overflow::Keep`] the caller asked [`Backlog::is_full`] before.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        if self.overflow == Overflow::Discard && self.bytes.len() > self.limit {
            self.bytes.drain(..self.bytes.len() - self.limit);
        }
    }

    /// Whether the guest has to wait.
    pub fn is_full(&self) -> bool {
        self.overflow == Overflow::Keep && self.bytes.len() >= self.limit
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Writes as much as `pty` takes without waiting. `Ok(true)` if anything went.
    pub fn write_to(&mut self, pty: &mut impl Write) -> io::Result<bool> {
        let mut moved = false;
        while !self.bytes.is_empty() {
            match pty.write(self.bytes.as_slices().0) {
                Ok(0) => break,
                Ok(count) => {
                    self.bytes.drain(..count);
                    moved = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `room` bytes, then would block.
    struct Slow(Vec<u8>, usize);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.1);
            if count == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.0.extend(&bytes[..count]);
            self.1 -= count;
            Ok(count)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_newest_bytes_are_kept() {
        let mut backlog = Backlog::new(8, Overflow::Discard);
        backlog.push(b"abcdefgh");
        backlog.push(b"XYZ");
        assert!(!backlog.is_full());
        let mut out = Slow(Vec::new(), 100);
        assert!(backlog.write_to(&mut out).expect("writes"));
        assert_eq!(out.0, b"defghXYZ");
    }

    #[test]
    fn a_full_backlog_that_keeps_makes_the_guest_wait() {
        let mut backlog = Backlog::new(4, Overflow::Keep);
        backlog.push(b"abcd");
        assert!(backlog.is_full());
        let mut out = Slow(Vec::new(), 3);
        backlog.write_to(&mut out).expect("writes");
        assert!(!backlog.is_full() && !backlog.is_empty());
        out.1 = 10;
        backlog.write_to(&mut out).expect("writes");
        assert_eq!(out.0, b"abcd");
        assert!(!backlog.write_to(&mut out).expect("nothing to write"));
    }

    #[test]
    fn a_smaller_limit_counts_at_once() {
        let mut backlog = Backlog::new(8, Overflow::Discard);
        backlog.push(b"abcdefgh");
        backlog.set_limit(2);
        let mut out = Slow(Vec::new(), 100);
        backlog.write_to(&mut out).expect("writes");
        assert_eq!(out.0, b"gh");
    }
}
