//! A stream that knows how far it has been read.

use std::io::{ErrorKind, Read};

use crate::{Error, Result};

/// Bytes that are read one behind the other.
#[derive(Debug)]
pub struct Source<R> {
    from: R,
    at: u64,
}

impl<R: Read> Source<R> {
    /// A stream at its first byte.
    pub fn new(from: R) -> Self {
        Self { from, at: 0 }
    }

    /// Bytes that were read.
    pub fn position(&self) -> u64 {
        self.at
    }

    /// What it reads from.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.from
    }

    /// Reads so many bytes, which the caller has found to be not too many.
    ///
    /// # Errors
    /// The stream's, or its end.
    pub fn bytes(&mut self, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads an array.
    ///
    /// # Errors
    /// As [`Source::bytes`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads until `into` is full.
    ///
    /// # Errors
    /// As [`Source::bytes`].
    pub fn fill(&mut self, into: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < into.len() {
            match self.from.read(&mut into[done..]) {
                Ok(0) => return Err(Error::Ended(self.at)),
                Ok(count) => {
                    done += count;
                    self.at += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// The number at `at`, which the caller knows to be there.
pub(crate) fn le32(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

/// As [`le32`], big-endian.
pub(crate) fn be32(bytes: &[u8], at: usize) -> u32 {
    le32(bytes, at).swap_bytes()
}

/// As [`le32`], of 64 bits.
pub(crate) fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from(le32(bytes, at)) | u64::from(le32(bytes, at + 4)) << 32
}
