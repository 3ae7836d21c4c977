//! Bytes that anybody can compute again.

use alloc::string::String;

use md5::{Digest, Md5};

/// A stretch of the pattern: words that count, each multiplied so that neighbours look different.
#[derive(Clone, Debug)]
pub struct Pattern {
    at: u64,
    end: u64,
}

impl Pattern {
    /// Its first `len` bytes.
    pub fn new(len: u64) -> Self {
        Self { at: 0, end: len }
    }

    /// Bytes that are left.
    pub fn left(&self) -> u64 {
        self.end - self.at
    }

    /// Fills the beginning of `into`, and says how far.
    pub fn fill(&mut self, into: &mut [u8]) -> usize {
        let count = usize::try_from(self.left()).unwrap_or(usize::MAX).min(into.len());
        let mut done = 0;
        while done < count {
            let bytes = (self.at / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
            let bytes = &bytes[(self.at % 8) as usize..];
            let now = bytes.len().min(count - done);
            into[done..done + now].copy_from_slice(&bytes[..now]);
            done += now;
            self.at += now as u64;
        }
        count
    }
}

/// The MD5 of the pattern's first `len` bytes, in hexadecimal.
pub fn md5_of_pattern(len: u64) -> String {
    let (mut pattern, mut digest, mut buffer) = (Pattern::new(len), Md5::new(), [0; 1024]);
    while pattern.left() > 0 {
        let count = pattern.fill(&mut buffer);
        digest.update(&buffer[..count]);
    }
    crate::hex(&digest.finalize())
}
