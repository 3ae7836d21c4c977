//! The traits by which embedded Rust reads and writes bytes.

use embedded_io::{ErrorKind, ErrorType, Read, Write};
use pv_hal::Hal;

use crate::{Back, Error, Front};

impl embedded_io::Error for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Error::Absent => ErrorKind::NotFound,
            Error::Broken(_) => ErrorKind::InvalidData,
            Error::Hal(_) => ErrorKind::Other,
        }
    }
}

impl<H: Hal> ErrorType for Front<H> {
    type Error = Error;
}

impl<H: Hal> Read for Front<H> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        Front::read(self, into, None)
    }
}

impl<H: Hal> Write for Front<H> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        Front::write(self, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.drain(None).map(drop)
    }
}

impl<H: Hal> core::fmt::Write for Front<H> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        Front::write(self, text.as_bytes()).map_err(|_| core::fmt::Error)
    }
}

impl<H: Hal> ErrorType for Back<H> {
    type Error = Error;
}

impl<H: Hal> Read for Back<H> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        Back::read(self, into, None)
    }
}

impl<H: Hal> Write for Back<H> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        Back::write(self, bytes, None).map(|_| bytes.len())
    }

    /// What was typed is in the guest's hands.
    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
