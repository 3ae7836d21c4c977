//! The cache on a directory of its own, with a kernel made by hand.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::*;

/// A small ELF file with an entry note, whose text tells it from others.
fn kernel(text: u8) -> Vec<u8> {
    let mut note = Vec::new();
    for word in [4u32, 8, 1] {
        note.extend(word.to_le_bytes());
    }
    note.extend(b"Xen\0");
    note.extend(0x1000u64.to_le_bytes());
    let mut file = vec![0; 64 + 2 * 56];
    file[..6].copy_from_slice(b"\x7fELF\x02\x01");
    file[16..20].copy_from_slice(&[2, 0, 62, 0]);
    (file[32], file[54], file[56]) = (64, 56, 2);
    let mut put = |at: usize, kind: u8, paddr: u64, len: u64, offset: u64| {
        file[at] = kind;
        for (place, word) in [(8, offset), (24, paddr), (32, len), (40, len)] {
            file[at + place..at + place + 8].copy_from_slice(&word.to_le_bytes());
        }
    };
    let data = 64 + 2 * 56;
    put(64, 4, 0, note.len() as u64, data);
    put(64 + 56, 1, 0x1000, 5000, data + note.len() as u64);
    file.extend(note);
    file.extend([text; 5000]);
    file
}

struct Place {
    _dir: tempfile::TempDir,
    cache: Cache,
    file: PathBuf,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("vmlinuz");
    fs::write(&file, kernel(1)).unwrap();
    Place {
        cache: Cache::new(dir.path().join("cache")),
        file,
        _dir: dir,
    }
}

impl Place {
    fn entries(&self, ending: &str) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(&self.cache.directory) else {
            return Vec::new();
        };
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .filter(|path| path.extension().is_some_and(|end| end == ending))
            .collect()
    }

    fn text(&self) -> u8 {
        self.cache.load(&self.file).unwrap().to_stored().1[4095]
    }
}

#[test]
fn a_kernel_is_found_again_without_the_file_being_read() {
    let place = place();
    assert_eq!(place.text(), 1);
    // What is in the cache now tells a hit from a miss.
    let stored = place.entries("kernel").remove(0);
    let mut bytes = fs::read(&stored).unwrap();
    let end = bytes.len();
    bytes[4096..end].fill(7);
    fs::write(&stored, bytes).unwrap();
    assert_eq!(place.text(), 7);
}

#[test]
fn a_changed_file_is_another_kernel() {
    let place = place();
    assert_eq!(place.text(), 1);
    fs::write(&place.file, kernel(2)).unwrap();
    assert_eq!(place.text(), 2);
    assert_eq!(place.entries("kernel").len(), 2);
}

#[test]
fn a_copy_is_known_by_its_contents() {
    let mut place = place();
    assert_eq!(place.text(), 1);
    let copy = place.file.with_file_name("copy");
    fs::copy(&place.file, &copy).unwrap();
    place.file = copy;
    assert_eq!(place.text(), 1);
    assert_eq!((place.entries("kernel").len(), place.entries("file").len()), (1, 2));
}

#[test]
fn damage_and_obstacles_cost_nothing_but_time() {
    let place = place();
    assert_eq!(place.text(), 1);
    for path in place.entries("kernel") {
        fs::write(path, b"damaged").unwrap();
    }
    assert_eq!(place.text(), 1);
    for path in place.entries("file") {
        fs::write(path, b"../../etc/passwd").unwrap();
    }
    assert_eq!(place.text(), 1);
    let nowhere = Cache::new(Path::new("/proc/nowhere"));
    assert!(nowhere.load(&place.file).is_ok());
}

#[test]
fn the_oldest_kernels_and_what_is_left_over_go() {
    let place = place();
    for text in 0..KEPT as u8 + 3 {
        fs::write(&place.file, kernel(text + 1)).unwrap();
        assert_eq!(place.text(), text + 1);
    }
    fs::write(place.cache.directory.join("999999999.new"), b"half").unwrap();
    fs::write(&place.file, kernel(100)).unwrap();
    assert_eq!(place.text(), 100);
    assert_eq!(place.entries("kernel").len(), KEPT);
    assert!(place.entries("file").len() <= KEPT);
    assert!(place.entries("new").is_empty());
    let mode = fs::metadata(&place.cache.directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn errors_name_the_file_and_the_reason() {
    let place = place();
    let missing = place.cache.load(Path::new("/nonexistent/vmlinuz")).unwrap_err();
    assert!(missing.to_string().contains("/nonexistent/vmlinuz"));
    let directory = place.cache.load(Path::new("/tmp")).unwrap_err();
    assert!(directory.to_string().contains("not a regular file"), "{directory}");
    fs::write(&place.file, b"text").unwrap();
    let text = place.cache.load(&place.file).unwrap_err().to_string();
    assert!(text.contains("neither an ELF file nor a bzImage"), "{text}");
}
