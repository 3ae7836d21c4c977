//! Records, which libxc's and libxl's streams have alike: kind, length, body, zeros up to a multiple of 8.

use std::io::{Read, Write};

use crate::source::{Source, le32};
use crate::{Error, Result};

/// Longest body that is believed, as in Xen's tools: 8 MiB.
pub const MOST_BODY: u32 = 8 << 20;
/// Kinds with this bit may be passed over by who does not know them.
pub(crate) const OPTIONAL: u32 = 1 << 31;

/// A record as it came.
#[derive(Debug)]
pub(crate) struct Raw {
    /// Where its header begins.
    pub(crate) at: u64,
    pub(crate) kind: u32,
    pub(crate) body: Vec<u8>,
}

impl Raw {
    pub(crate) fn read<R: Read>(from: &mut Source<R>) -> Result<Self> {
        let at = from.position();
        let header: [u8; 8] = from.array()?;
        let (kind, len) = (le32(&header, 0), le32(&header, 4));
        if len > MOST_BODY {
            return Err(Error::malformed(
                at,
                format!("a record of kind {kind:#x} has {len} bytes; {MOST_BODY} are the most"),
            ));
        }
        let len = len as usize;
        let mut body = from.bytes(len.next_multiple_of(8))?;
        body.truncate(len);
        Ok(Self { at, kind, body })
    }

    /// The record is wrong.
    pub(crate) fn wrong(&self, what: impl Into<String>) -> Error {
        Error::malformed(self.at, what)
    }

    /// An error where the body has another length.
    pub(crate) fn expect_len(&self, name: &str, len: usize) -> Result<()> {
        if self.body.len() == len {
            return Ok(());
        }
        let have = self.body.len();
        Err(self.wrong(format!("a record {name} has {have} bytes in the place of {len}")))
    }
}

/// Writes a record whose body is these pieces. Together they must not be longer than [`MOST_BODY`].
pub(crate) fn write(to: &mut impl Write, kind: u32, body: &[&[u8]]) -> Result<()> {
    let len: usize = body.iter().map(|piece| piece.len()).sum();
    let Some(length) = u32::try_from(len).ok().filter(|len| *len <= MOST_BODY) else {
        return Err(Error::malformed(
            0,
            format!("a record of {len} bytes is too long to be written"),
        ));
    };
    to.write_all(&kind.to_le_bytes())?;
    to.write_all(&length.to_le_bytes())?;
    for piece in body {
        to.write_all(piece)?;
    }
    to.write_all(&[0; 8][..len.next_multiple_of(8) - len])?;
    Ok(())
}
