//! File input and output with many places in mappings at once.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use crate::mapping::Mapping;

/// A place in a mapping.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// The mapping.
    pub memory: &'a Mapping,
    /// First byte in it.
    pub offset: usize,
    /// Bytes.
    pub len: usize,
}

/// Most pieces of one call to the kernel.
const MOST: usize = 1024;

fn vectors(pieces: &[Piece<'_>]) -> Vec<libc::iovec> {
    let vector = |piece: &Piece<'_>| libc::iovec {
        iov_base: piece.memory.range(piece.offset, piece.len).cast(),
        iov_len: piece.len,
    };
    pieces.iter().take(MOST).map(vector).collect()
}

/// Reads from a file at `at` straight into `pieces`, in their order; the number of bytes, which may be less than all,
/// and is 0 at the file's end.
///
/// # Errors
/// The kernel's.
pub fn read_pieces(file: impl AsFd, at: u64, pieces: &[Piece<'_>]) -> io::Result<usize> {
    let vectors = vectors(pieces);
    let at = i64::try_from(at).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: each vector is a range of a mapping that `pieces` borrows.
    let done = unsafe { libc::preadv(file.as_fd().as_raw_fd(), vectors.as_ptr(), vectors.len() as i32, at) };
    usize::try_from(done).map_err(|_| io::Error::last_os_error())
}

/// Writes `pieces`, in their order, to a file at `at`; the number of bytes, which may be less than all.
///
/// # Errors
/// The kernel's.
pub fn write_pieces(file: impl AsFd, at: u64, pieces: &[Piece<'_>]) -> io::Result<usize> {
    let vectors = vectors(pieces);
    let at = i64::try_from(at).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: each vector is a range of a mapping that `pieces` borrows.
    let done = unsafe { libc::pwritev(file.as_fd().as_raw_fd(), vectors.as_ptr(), vectors.len() as i32, at) };
    usize::try_from(done).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_filled_and_written_in_order() {
        let memory = Mapping::anonymous(4096).unwrap();
        let piece = |offset, len| Piece {
            memory: &memory,
            offset,
            len,
        };
        let file = tempfile::tempfile().unwrap();
        memory.write(100, b"world");
        memory.write(0, b"hello ");
        assert_eq!(write_pieces(&file, 3, &[piece(0, 6), piece(100, 5)]).unwrap(), 11);
        assert_eq!(read_pieces(&file, 3, &[piece(200, 4), piece(300, 100)]).unwrap(), 11);
        let mut back = [0; 7];
        memory.read(300, &mut back);
        assert_eq!(&back, b"o world");
        assert_eq!(read_pieces(&file, 14, &[piece(0, 1)]).unwrap(), 0);
    }
}
