//! A disk as bytes, by the traits of `embedded-io`.

use embedded_io::{ErrorType, Read, Seek, SeekFrom, Write};
use pv_hal::Hal;
use pv_xenbus::Store;

use super::{Error, Frontend};
use crate::SECTOR_SIZE;

/// A position on a disk, from which bytes are read and to which they are written. Whole sectors move as such, several
/// requests at a time; a part of a sector that is written is read first. Nothing is kept back: what was written is with
/// the backend, and on stable storage after [`flush`](Write::flush).
///
/// At the disk's end, reading gives no more bytes and writing fails with [`Error::OutOfRange`].
pub struct Stream<'a, H: Hal, S: Store> {
    disk: &'a mut Frontend<H, S>,
    position: u64,
}

impl<'a, H: Hal, S: Store> Stream<'a, H, S> {
    /// At the disk's beginning.
    pub fn new(disk: &'a mut Frontend<H, S>) -> Self {
        Self { disk, position: 0 }
    }

    /// Bytes of the disk.
    ///
    /// # Errors
    /// It is not connected.
    pub fn len(&self) -> Result<u64, Error> {
        let disk = self.disk.properties().ok_or(Error::Disconnected)?;
        // A size that does not fit is refused when the disk connects.
        Ok(disk.sectors * SECTOR_SIZE as u64)
    }

    /// Whether the disk has no byte at all.
    ///
    /// # Errors
    /// It is not connected.
    pub fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len()? == 0)
    }

    /// Bytes of the disk's own sectors: what can be moved.
    fn unit(&self) -> usize {
        self.disk
            .properties()
            .map_or(SECTOR_SIZE, |disk| disk.sector_size as usize)
    }

    /// Reads the unit that the position lies in; the position's offset within it.
    fn read_unit(&mut self, unit: &mut [u8]) -> Result<usize, Error> {
        let offset = (self.position % unit.len() as u64) as usize;
        let sector = (self.position - offset as u64) / SECTOR_SIZE as u64;
        self.disk.read_sectors(sector, unit)?;
        Ok(offset)
    }

    /// Bytes of whole units at the position, if that is where one begins; else 0.
    fn whole(&self, len: usize, unit: usize) -> usize {
        match self.position.is_multiple_of(unit as u64) {
            true => len - len % unit,
            false => 0,
        }
    }
}

impl<H: Hal, S: Store> ErrorType for Stream<'_, H, S> {
    type Error = Error;
}

impl<H: Hal, S: Store> Read for Stream<'_, H, S> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        let left = self.len()?.saturating_sub(self.position);
        let len = into.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let unit = self.unit();
        let whole = self.whole(len, unit);
        let read = if whole > 0 {
            self.disk
                .read_sectors(self.position / SECTOR_SIZE as u64, &mut into[..whole])?;
            whole
        } else if len > 0 {
            let mut bytes = alloc::vec![0; unit];
            let offset = self.read_unit(&mut bytes)?;
            let part = len.min(unit - offset);
            into[..part].copy_from_slice(&bytes[offset..offset + part]);
            part
        } else {
            0
        };
        self.position += read as u64;
        Ok(read)
    }
}

impl<H: Hal, S: Store> Write for Stream<'_, H, S> {
    fn write(&mut self, from: &[u8]) -> Result<usize, Error> {
        let left = self.len()?.saturating_sub(self.position);
        let len = from.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if len == 0 && !from.is_empty() {
            return Err(Error::OutOfRange);
        }
        let unit = self.unit();
        let whole = self.whole(len, unit);
        let written = if whole > 0 {
            self.disk
                .write_sectors(self.position / SECTOR_SIZE as u64, &from[..whole])?;
            whole
        } else if len > 0 {
            let mut bytes = alloc::vec![0; unit];
            let offset = self.read_unit(&mut bytes)?;
            let part = len.min(unit - offset);
            bytes[offset..offset + part].copy_from_slice(&from[..part]);
            let sector = (self.position - offset as u64) / SECTOR_SIZE as u64;
            self.disk.write_sectors(sector, &bytes)?;
            part
        } else {
            0
        };
        self.position += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> Result<(), Error> {
        match self.disk.flush() {
            // A disk without a cache has nothing to flush.
            Err(Error::Unsupported) => Ok(()),
            result => result,
        }
    }
}

impl<H: Hal, S: Store> Seek for Stream<'_, H, S> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64, Error> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.len()?.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(Error::OutOfRange)?;
        Ok(self.position)
    }
}

impl<H: Hal, S: Store> core::fmt::Debug for Stream<'_, H, S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Stream")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
