//! The file or block device behind a disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::fcntl::{FallocateFlags, fallocate};
use privcmd::Piece;

use crate::request::SECTOR;

/// First bytes of the formats that are not served, to tell them from raw disks.
const FORMATS: [(&[u8], &str); 4] = [
    (b"QFI\xfb", "qcow or qcow2"),
    (b"QED\0", "qed"),
    (b"conectix", "vhd"),
    (b"KDMV", "vmdk"),
];

/// A disk's contents.
#[derive(Debug)]
pub(crate) struct Image {
    file: File,
    sectors: u64,
    writable: bool,
    discard: bool,
}

impl Image {
    /// Opens the file at `path` in format `format`.
    ///
    /// # Errors
    /// With the path and what to do.
    pub(crate) fn open(path: &Path, format: &str, writable: bool, discard: bool) -> Result<Self> {
        let name = path.display();
        if format != "raw" {
            bail!("{name}: format {format} is not served; convert it: qemu-img convert -O raw {name} NEW");
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(writable)
            .open(path)
            .with_context(|| format!("cannot open {name}"))?;
        let kind = file
            .metadata()
            .with_context(|| format!("cannot examine {name}"))?
            .file_type();
        if !kind.is_file() && !kind.is_block_device() {
            bail!("{name} is neither a file nor a block device");
        }
        let mut start = [0; 8];
        if file.read_exact(&mut start).is_ok()
            && let Some((_, found)) = FORMATS.iter().find(|(magic, _)| start.starts_with(magic))
        {
            bail!("{name} is configured as raw, but begins like a {found} image; convert it to raw");
        }
        let size = file
            .seek(SeekFrom::End(0))
            .with_context(|| format!("cannot examine {name}"))?;
        if size < SECTOR {
            bail!("{name} has no whole sector of {SECTOR} bytes");
        }
        Ok(Self {
            file,
            sectors: size / SECTOR,
            writable,
            discard,
        })
    }

    /// Sectors of 512 bytes.
    pub(crate) fn sectors(&self) -> u64 {
        self.sectors
    }

    /// May the guest write?
    pub(crate) fn is_writable(&self) -> bool {
        self.writable
    }

    /// May the guest discard?
    pub(crate) fn has_discard(&self) -> bool {
        self.writable && self.discard
    }

    /// The byte that `count` sectors from `sector` on begin at; none where they leave the disk.
    fn place(&self, sector: u64, count: u64) -> Option<u64> {
        // Multiplied only where it cannot overflow.
        (sector.checked_add(count)? <= self.sectors).then(|| sector * SECTOR)
    }

    /// Moves `pieces` from or to the disk, from `sector` on.
    ///
    /// # Errors
    /// The kernel's; sectors past the disk's end; writes to a disk to be read only.
    pub(crate) fn transfer(&self, write: bool, sector: u64, pieces: &[Piece<'_>]) -> io::Result<()> {
        let total: u64 = pieces.iter().map(|piece| piece.len as u64).sum();
        let start = self.place(sector, total / SECTOR).ok_or(io::ErrorKind::InvalidInput)?;
        if write && !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut done = 0;
        while done < total {
            let rest = skip(pieces, done as usize);
            let moved = if write {
                privcmd::write_pieces(&self.file, start + done, &rest)
            } else {
                privcmd::read_pieces(&self.file, start + done, &rest)
            };
            match moved {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(moved) => done += moved as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Puts everything written on stable storage.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Frees the room of sectors, which read as zeros from then on.
    ///
    /// # Errors
    /// The kernel's; sectors past the disk's end; `Unsupported` where the file system cannot.
    pub(crate) fn discard(&self, sector: u64, count: u64) -> io::Result<()> {
        if !self.has_discard() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let start = self.place(sector, count).ok_or(io::ErrorKind::InvalidInput)?;
        let bytes = count * SECTOR;
        if bytes == 0 {
            return Ok(());
        }
        let as_offset = |value: u64| i64::try_from(value).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput));
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        match fallocate(&self.file, flags, as_offset(start)?, as_offset(bytes)?) {
            Err(nix::errno::Errno::EOPNOTSUPP) => Err(io::ErrorKind::Unsupported.into()),
            result => result.map_err(io::Error::from),
        }
    }
}

/// What is left of `pieces` without their first `done` bytes.
fn skip<'a>(pieces: &[Piece<'a>], mut done: usize) -> Vec<Piece<'a>> {
    let mut rest = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let skipped = done.min(piece.len);
        done -= skipped;
        if skipped < piece.len {
            rest.push(Piece {
                memory: piece.memory,
                offset: piece.offset + skipped,
                len: piece.len - skipped,
            });
        }
    }
    rest
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use privcmd::Mapping;

    use super::*;

    /// A disk of some sectors, each filled with its number.
    pub(crate) fn disk(sectors: u8, writable: bool) -> (tempfile::NamedTempFile, Image) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for sector in 0..sectors {
            file.write_all(&[sector; SECTOR as usize]).unwrap();
        }
        let image = Image::open(file.path(), "raw", writable, true).unwrap();
        (file, image)
    }

    #[test]
    fn sectors_past_the_end_are_refused() {
        let (_file, image) = disk(16, true);
        let memory = Mapping::anonymous(4096).unwrap();
        let piece = [Piece {
            memory: &memory,
            offset: 0,
            len: 1024,
        }];
        image.transfer(false, 14, &piece).unwrap();
        for sector in [15, 16, u64::MAX - 1, u64::MAX / 512 + 1] {
            assert!(image.transfer(false, sector, &piece).is_err(), "{sector}");
            assert!(image.discard(sector, 2).is_err(), "{sector}");
        }
        assert!(image.discard(1, u64::MAX).is_err());
    }

    #[test]
    fn a_disk_to_be_read_only_is_not_written() {
        let (_file, image) = disk(8, false);
        let memory = Mapping::anonymous(4096).unwrap();
        let piece = [Piece {
            memory: &memory,
            offset: 0,
            len: 512,
        }];
        assert!(image.transfer(true, 0, &piece).is_err());
        assert!(image.discard(0, 1).is_err());
        image.transfer(false, 0, &piece).unwrap();
    }

    #[test]
    fn other_formats_are_refused_with_the_way_out() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"QFI\xfb\0\0\0\x03").unwrap();
        file.as_file().set_len(1 << 20).unwrap();
        for format in ["raw", "qcow2"] {
            let text = Image::open(file.path(), format, true, true).unwrap_err().to_string();
            assert!(text.contains("convert"), "{text}");
        }
    }

    #[test]
    fn discarded_sectors_read_as_zeros() {
        let (_file, image) = disk(32, true);
        match image.discard(8, 8) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => return,
            result => result.unwrap(),
        }
        let memory = Mapping::anonymous(4096).unwrap();
        let piece = [Piece {
            memory: &memory,
            offset: 0,
            len: 1024,
        }];
        image.transfer(false, 7, &piece).unwrap();
        let mut bytes = [9; 1024];
        memory.read(0, &mut bytes);
        assert_eq!((bytes[0], bytes[512]), (7, 0));
    }
}
