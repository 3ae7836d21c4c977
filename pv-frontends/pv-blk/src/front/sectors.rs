//! Reading and writing any number of sectors, with the caller waiting.

use alloc::collections::BTreeMap;
use core::time::Duration;

use pv_hal::{Hal, Memory};
use pv_xenbus::Store;

use super::{Buffer, Completion, Error, Frontend, Operation, Token};
use crate::SECTOR_SIZE;

/// Most sectors of one request: 128 KiB. More makes few requests larger, and none faster.
const CHUNK: u32 = 256;
/// Requests that are in flight at a time.
const DEPTH: usize = 8;

/// Where a request's bytes belong: from the first on, this many.
#[derive(Clone, Copy)]
struct Part {
    start: usize,
    len: usize,
}

/// What is moved.
enum Bytes<'a> {
    Read(&'a mut [u8]),
    Write(&'a [u8]),
}

impl Bytes<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Read(bytes) => bytes.len(),
            Self::Write(bytes) => bytes.len(),
        }
    }
}

impl<H: Hal, S: Store> Frontend<H, S> {
    /// How long a blocking method waits for an answer before it fails with [`Error::TimedOut`]; none (as at first) for
    /// as long as it takes.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// Reads sectors of 512 bytes from `sector` on, several requests at a time.
    ///
    /// # Errors
    /// The first request's that failed; `into` is not wholly filled then.
    pub fn read_sectors(&mut self, sector: u64, into: &mut [u8]) -> Result<(), Error> {
        self.move_sectors(sector, Bytes::Read(into))
    }

    /// Writes sectors of 512 bytes from `sector` on, several requests at a time.
    ///
    /// # Errors
    /// The first request's that failed; others may have been carried out.
    pub fn write_sectors(&mut self, sector: u64, from: &[u8]) -> Result<(), Error> {
        self.move_sectors(sector, Bytes::Write(from))
    }

    /// Has everything that was written put on stable storage.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the disk knows no flushes; otherwise as [`read_sectors`](Self::read_sectors).
    pub fn flush(&mut self) -> Result<(), Error> {
        let token = self.device.flush().map_err(|refused| refused.error)?;
        self.finish_one(token)
    }

    /// Gives up sectors.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the disk cannot; otherwise as [`read_sectors`](Self::read_sectors).
    pub fn discard(&mut self, sector: u64, sectors: u64, secure: bool) -> Result<(), Error> {
        let request = self.device.discard(sector, sectors, secure);
        let token = request.map_err(|refused| refused.error)?;
        self.finish_one(token)
    }

    fn finish_one(&mut self, token: Token) -> Result<(), Error> {
        self.device.publish();
        let mut mine = BTreeMap::from([(token, Part { start: 0, len: 0 })]);
        let (_, completion) = self.next_of(&mut mine)?;
        completion.result
    }

    fn move_sectors(&mut self, sector: u64, mut bytes: Bytes<'_>) -> Result<(), Error> {
        if !bytes.len().is_multiple_of(SECTOR_SIZE) {
            return Err(Error::BadLength);
        }
        let mut mine = BTreeMap::new();
        let mut failure = None;
        let mut begun = 0;
        loop {
            while failure.is_none() && begun < bytes.len() && mine.len() < DEPTH {
                match self.begin_part(sector, begun, &bytes) {
                    Ok((token, part)) => {
                        mine.insert(token, part);
                        begun += part.len;
                    }
                    // Somebody else's requests fill the rings, or ours do.
                    Err(Error::Full) if self.device.in_flight() > 0 => break,
                    Err(error) => failure = Some(error),
                }
            }
            self.device.publish();
            if mine.is_empty() && (begun == bytes.len() || failure.is_some()) {
                return failure.map_or(Ok(()), Err);
            }
            if mine.is_empty() {
                self.wait_for_room()?;
                continue;
            }
            let (part, mut completion) = self.next_of(&mut mine)?;
            if let (Ok(()), Bytes::Read(into), Some(buffer)) = (&completion.result, &mut bytes, &completion.buffer) {
                buffer.read(0, &mut into[part.start..part.start + part.len]);
            }
            failure = failure.or(completion.result.err());
            self.spare.extend(completion.buffer.take());
        }
    }

    /// Begins the request for the part at `start`.
    fn begin_part(&mut self, sector: u64, start: usize, bytes: &Bytes<'_>) -> Result<(Token, Part), Error> {
        let most = self.device.max_sectors().min(CHUNK) as usize * SECTOR_SIZE;
        let len = (bytes.len() - start).min(most);
        let sectors = (len / SECTOR_SIZE) as u32;
        let first = (start / SECTOR_SIZE) as u64;
        let sector = sector.checked_add(first).ok_or(Error::OutOfRange)?;
        let buffer = self.take_buffer(len, most)?;
        let operation = match bytes {
            Bytes::Read(_) => Operation::Read { sector, sectors },
            Bytes::Write(from) => {
                buffer.write(0, &from[start..start + len]);
                Operation::Write { sector, sectors }
            }
        };
        match self.device.submit(operation, Some(buffer)) {
            Ok(token) => Ok((token, Part { start, len })),
            Err(refused) => {
                self.spare.extend(refused.buffer);
                Err(refused.error)
            }
        }
    }

    /// The buffer that was used last and is large enough: the backend has its pages mapped (and the caches hold them).
    fn take_buffer(&mut self, len: usize, most: usize) -> Result<Buffer<H>, Error> {
        if let Some(index) = self.spare.iter().rposition(|buffer| buffer.byte_count() >= len) {
            return Ok(self.spare.swap_remove(index));
        }
        self.spare.pop();
        // Small ones for small requests, so that a boot sector does not cost 128 KiB.
        let sectors = if len <= 8 * SECTOR_SIZE { 8 } else { most / SECTOR_SIZE };
        self.device.buffer(sectors as u32)
    }

    /// Waits for one of the caller's requests, and keeps it for the caller.
    fn wait_for_room(&mut self) -> Result<(), Error> {
        let deadline = self.timeout.map(|timeout| self.hal.now() + timeout);
        let completion = self.wait_for_any(deadline)?.ok_or(Error::TimedOut)?;
        self.others.push_back(completion);
        Ok(())
    }

    /// Waits for one of `mine`; keeps what is not for the caller.
    fn next_of(&mut self, mine: &mut BTreeMap<Token, Part>) -> Result<(Part, Completion<H>), Error> {
        let deadline = self.timeout.map(|timeout| self.hal.now() + timeout);
        loop {
            match self.wait_for_any(deadline) {
                Ok(Some(completion)) => match mine.remove(&completion.token) {
                    Some(part) => return Ok((part, completion)),
                    None => self.others.push_back(completion),
                },
                other => {
                    self.abandoned.extend(mine.keys());
                    return Err(other.err().unwrap_or(Error::TimedOut));
                }
            }
        }
    }
}
