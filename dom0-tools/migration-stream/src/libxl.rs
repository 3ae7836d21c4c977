//! The stream around libxc's (`docs/specs/libxl-migration-stream.pandoc`).

use std::io::{Read, Write};

use crate::record::{self, OPTIONAL, Raw};
use crate::source::{Source, be32};
use crate::{Error, Result};

const IDENT: &[u8; 8] = b"LibxlFmt";
const VERSION: u32 = 2;

/// One record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record {
    /// The last one.
    End,
    /// Here libxc's stream follows.
    Libxc,
    /// State of a device emulator, of which paravirtual guests have none: it can be passed over.
    Emulator,
    /// A checkpoint ends.
    CheckpointEnd,
    /// One that may be passed over.
    Unknown(u32),
}

/// Reads what stands at the start.
///
/// # Errors
/// The stream's; what it is instead.
pub fn read_header<R: Read>(from: &mut Source<R>) -> Result<()> {
    let at = from.position();
    let header: [u8; 16] = from.array()?;
    let wrong = |what: String| Err(Error::malformed(at, what));
    if &header[..8] != IDENT {
        return wrong("here libxl's stream should begin; formats before Xen 4.6 cannot be read".into());
    }
    match (be32(&header, 8), be32(&header, 12)) {
        (VERSION, 0) => Ok(()),
        (VERSION, options) => wrong(format!("libxl's stream has options {options:#x}; none are known")),
        (version, _) => wrong(format!("libxl's stream has version {version}; {VERSION} can be read")),
    }
}

/// Writes what stands at the start.
///
/// # Errors
/// The stream's.
pub fn write_header(to: &mut impl Write) -> Result<()> {
    to.write_all(IDENT)?;
    to.write_all(&VERSION.to_be_bytes())?;
    Ok(to.write_all(&[0; 4])?)
}

/// Reads a record.
///
/// # Errors
/// The stream's; what is wrong with the record.
pub fn read_record<R: Read>(from: &mut Source<R>) -> Result<Record> {
    let raw = Raw::read(from)?;
    let empty = |record: Record, name: &str| raw.expect_len(name, 0).map(|()| record);
    match raw.kind {
        0 => empty(Record::End, "END"),
        1 => empty(Record::Libxc, "LIBXC_CONTEXT"),
        2 | 3 => Ok(Record::Emulator),
        4 => empty(Record::CheckpointEnd, "CHECKPOINT_END"),
        kind if kind & OPTIONAL != 0 => Ok(Record::Unknown(kind)),
        kind => Err(raw.wrong(format!(
            "a record of kind {kind:#x} of libxl cannot be understood and must not be passed over"
        ))),
    }
}

/// Announces libxc's stream.
///
/// # Errors
/// The stream's.
pub fn write_libxc(to: &mut impl Write) -> Result<()> {
    record::write(to, 1, &[])
}

/// Ends the stream.
///
/// # Errors
/// The stream's.
pub fn write_end(to: &mut impl Write) -> Result<()> {
    record::write(to, 0, &[])
}
