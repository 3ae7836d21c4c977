//! The instruction bytes, and a reader over them.

use super::Refused;

/// Longest instruction.
pub const MAX_LEN: usize = 15;

/// Instruction bytes copied from the guest: how many could be read, and which.
#[derive(Clone, Copy, Debug)]
pub struct Fetched {
    bytes: [u8; 16],
    len: u8,
}

impl Fetched {
    /// Takes the first `len` of `bytes`, at most [`MAX_LEN`].
    #[inline]
    pub fn new(bytes: [u8; 16], len: usize) -> Self {
        Self {
            bytes,
            len: len.min(MAX_LEN) as u8,
        }
    }

    /// Takes a slice; what goes beyond [`MAX_LEN`] is left out.
    pub fn from_slice(code: &[u8]) -> Self {
        let mut bytes = [0; 16];
        let len = code.len().min(MAX_LEN);
        bytes[..len].copy_from_slice(&code[..len]);
        Self::new(bytes, len)
    }

    /// Does the code start with `prefix` (at most 16 bytes)?
    #[inline]
    pub fn starts_with(&self, prefix: &[u8]) -> bool {
        prefix.len() <= self.len as usize && self.bytes.starts_with(prefix)
    }
}

/// Reads on through [`Fetched`]. Reading past the end gives some byte, and [`Reader::finish`] then refuses: one
/// check at the end instead of one at each byte.
pub(super) struct Reader<'a> {
    code: &'a Fetched,
    pos: usize,
}

impl<'a> Reader<'a> {
    #[inline]
    pub(super) fn new(code: &'a Fetched) -> Self {
        Self { code, pos: 0 }
    }

    #[inline]
    pub(super) fn u8(&mut self) -> u8 {
        let byte = self.code.bytes[self.pos & 15];
        self.pos = self.pos.wrapping_add(1);
        byte
    }

    #[inline]
    pub(super) fn i8(&mut self) -> i64 {
        self.u8() as i8 as i64
    }

    #[inline]
    pub(super) fn i16(&mut self) -> i64 {
        i16::from_le_bytes([self.u8(), self.u8()]) as i64
    }

    #[inline]
    pub(super) fn i32(&mut self) -> i64 {
        i32::from_le_bytes([self.u8(), self.u8(), self.u8(), self.u8()]) as i64
    }

    #[inline]
    pub(super) fn i64(&mut self) -> i64 {
        (self.i32() & 0xffff_ffff) | (self.i32() << 32)
    }

    /// Is the read position still where an instruction may reach?
    #[inline]
    pub(super) fn in_reach(&self) -> bool {
        self.pos < MAX_LEN
    }

    /// The instruction's length, if all its bytes were there.
    #[inline]
    pub(super) fn finish(&self) -> Result<u8, Refused> {
        if self.pos <= self.code.len as usize {
            Ok(self.pos as u8)
        } else {
            Err(Refused)
        }
    }
}
