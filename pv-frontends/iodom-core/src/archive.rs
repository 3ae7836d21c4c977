//! The boot module that holds the guests: archives in cpio's `newc` form, one or several after each other, as Linux
//! takes its initial RAM disk (Documentation/driver-api/early-userspace/buffer-format.rst of Linux).

const MAGIC: &[u8] = b"070701";
/// Bytes of a header: the magic number and 13 fields of 8 hexadecimal digits.
const HEADER: usize = 110;
const TRAILER: &[u8] = b"TRAILER!!!";
const FILE_TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;

/// The regular files of an archive: name and contents. What makes no sense ends it.
#[derive(Clone, Debug)]
pub struct Files<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Files<'a> {
    /// The files in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    fn next_entry(&mut self) -> Option<(u32, &'a [u8], &'a [u8])> {
        // Zeros may stand between archives.
        while self.bytes.get(self.at) == Some(&0) {
            self.at += 1;
        }
        let header = self.bytes.get(self.at..self.at.checked_add(HEADER)?)?;
        if !header.starts_with(MAGIC) {
            return None;
        }
        let field = |index: usize| {
            let digits = header.get(MAGIC.len() + index * 8..MAGIC.len() + index * 8 + 8)?;
            u32::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()
        };
        let (mode, size, name_size) = (field(1)?, field(6)? as usize, field(11)? as usize);
        let name_at = self.at + HEADER;
        let name = self.bytes.get(name_at..name_at.checked_add(name_size)?)?;
        let data_at = (name_at + name_size).next_multiple_of(4);
        let data = self.bytes.get(data_at..data_at.checked_add(size)?)?;
        self.at = (data_at + size).next_multiple_of(4);
        Some((mode, name.strip_suffix(b"\0")?, data))
    }
}

impl<'a> Iterator for Files<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (mode, name, data) = self.next_entry()?;
            let name = core::str::from_utf8(name).ok();
            if let Some(name) = name.filter(|name| mode & FILE_TYPE == REGULAR && name.as_bytes() != TRAILER) {
                return Some((name.trim_start_matches("./"), data));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec::Vec;

    fn entry(mode: u32, name: &str, data: &[u8]) -> Vec<u8> {
        let fields = [
            1,
            mode,
            0,
            0,
            1,
            0,
            data.len() as u32,
            0,
            0,
            0,
            0,
            name.len() as u32 + 1,
            0,
        ];
        let mut bytes = MAGIC.to_vec();
        for field in fields {
            bytes.extend(format!("{field:08X}").bytes());
        }
        bytes.extend(name.bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn archive() -> Vec<u8> {
        [
            entry(0o040_755, "guests", b""),
            entry(0o100_644, "guests/a", b"12345"),
            entry(0, "TRAILER!!!", b""),
            alloc::vec![0; 12],
            entry(0o100_644, "./b", b""),
            entry(0, "TRAILER!!!", b""),
        ]
        .concat()
    }

    #[test]
    fn files_of_several_archives_come_in_their_order() {
        let bytes = archive();
        let files: Vec<_> = Files::new(&bytes).collect();
        assert_eq!(files, [("guests/a", &b"12345"[..]), ("b", b"")]);
    }

    #[test]
    fn cut_and_bent_archives_end_and_do_not_panic() {
        let bytes = archive();
        for end in 0..bytes.len() {
            assert!(Files::new(&bytes[..end]).count() <= 2);
        }
        for at in 0..bytes.len() {
            let mut bent = bytes.clone();
            bent[at] = b'F';
            assert!(Files::new(&bent).count() <= 3);
        }
    }
}
