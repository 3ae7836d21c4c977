use super::*;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

/// A note as a file has it.
pub(crate) fn note(name: &[u8], kind: u32, desc: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [name.len() as u32 + 1, desc.len() as u32, kind] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(name);
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(desc);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An ELF file with segments (kind, p_paddr, p_memsz, contents), one after the other behind the headers.
pub(crate) fn file(segments: &[(u32, u64, u64, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    bytes[16..20].copy_from_slice(&[2, 0, 62, 0]);
    bytes[24..32].copy_from_slice(&0x1000u64.to_le_bytes());
    bytes[32..40].copy_from_slice(&64u64.to_le_bytes());
    bytes[54..58].copy_from_slice(&[56, 0, segments.len() as u8, 0]);
    let mut offset = 64 + 56 * segments.len() as u64;
    for (kind, paddr, mem_size, data) in segments {
        bytes.extend(kind.to_le_bytes());
        bytes.extend(7u32.to_le_bytes());
        for word in [offset, 0, *paddr, data.len() as u64, *mem_size, 4096] {
            bytes.extend(word.to_le_bytes());
        }
        offset += data.len() as u64;
    }
    segments.iter().for_each(|(.., data)| bytes.extend(*data));
    bytes
}

#[test]
fn segments_and_notes() {
    let notes = [note(b"Xen", 1, &[1, 2, 3, 4]), note(b"GNU", 3, b"id!")].concat();
    let bytes = file(&[
        (1, 0x1000, 0x3000, b"text"),
        (1, 0x8000, 0, b""),
        (4, 0, 0, &notes),
        (1, 0x400, 8, b"early"),
    ]);
    let elf = Elf::parse(&bytes).unwrap();
    assert_eq!(elf.entry, 0x1000);
    assert_eq!(elf.extent(), (0x400, 0x4000));
    let segments: Vec<_> = elf.segments().collect();
    assert_eq!(
        segments[0],
        Segment {
            paddr: 0x1000,
            mem_size: 0x3000,
            data: b"text"
        }
    );
    assert_eq!(segments[1].data, b"early");
    let notes: Vec<_> = elf.notes().collect();
    assert_eq!(
        notes[0],
        Note {
            name: b"Xen",
            kind: 1,
            desc: &[1, 2, 3, 4]
        }
    );
    assert_eq!(
        notes[1],
        Note {
            name: b"GNU",
            kind: 3,
            desc: b"id!"
        }
    );
}

#[test]
fn refusals() {
    let good = file(&[(1, 0, 4, b"text")]);
    assert!(Elf::parse(&good).is_ok());
    assert_eq!(Elf::parse(b"MZ").unwrap_err(), ElfError::NotElf);
    assert_eq!(Elf::parse(&good[..60]).unwrap_err(), ElfError::Truncated("header"));
    assert_eq!(
        Elf::parse(&good[..100]).unwrap_err(),
        ElfError::Truncated("program headers")
    );
    assert_eq!(
        Elf::parse(&good[..good.len() - 1]).unwrap_err(),
        ElfError::Truncated("segments")
    );
    assert_eq!(Elf::parse(&file(&[(4, 0, 0, b"")])).unwrap_err(), ElfError::NoSegments);
    assert_eq!(
        Elf::parse(&file(&[(1, 0, 3, b"text")])).unwrap_err(),
        ElfError::Bad("segment size")
    );
    assert_eq!(
        Elf::parse(&file(&[(1, u64::MAX, 4, b"text")])).unwrap_err(),
        ElfError::Bad("segment address")
    );
    for (at, value, error) in [
        (4, 1, ElfError::WrongKind("not of 64 bits")),
        (5, 2, ElfError::WrongKind("big-endian")),
        (18, 3, ElfError::WrongKind("for another machine")),
        (16, 1, ElfError::WrongKind("not an executable")),
        (54, 57, ElfError::Bad("size of program headers")),
    ] {
        let mut bad = good.clone();
        bad[at] = value;
        assert_eq!(Elf::parse(&bad).unwrap_err(), error);
    }
}

/// Uses everything of a file that parses.
fn exercise(bytes: &[u8]) {
    if let Ok(elf) = Elf::parse(bytes) {
        let (low, high) = elf.extent();
        assert!(low < high);
        for segment in elf.segments() {
            assert!(segment.data.len() as u64 <= segment.mem_size);
        }
        elf.notes()
            .for_each(|note| assert!(note.name.len() + note.desc.len() <= bytes.len()));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_safe(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        exercise(&bytes);
        if bytes.len() >= 64 {
            bytes[..20].copy_from_slice(&file(&[])[..20]);
            bytes[54..56].copy_from_slice(&[56, 0]);
            exercise(&bytes);
        }
    }

    #[test]
    fn damaged_files_are_safe(at in 0usize..500, value: u8, cut in 0usize..500) {
        let notes = [note(b"Xen", 1, &[1; 8]), note(b"Xen", 6, b"linux")].concat();
        let mut bytes = file(&[(1, 0x1000, 0x3000, &[7; 100]), (4, 0, 0, &notes)]);
        bytes.truncate(cut.max(64));
        let len = bytes.len();
        bytes[at % len] = value;
        exercise(&bytes);
    }
}
