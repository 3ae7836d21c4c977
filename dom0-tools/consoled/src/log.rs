//! A console's log: plain text as the guest wrote it, with a time before each line if asked for.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Zoned;

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// `[2026-11-23 07:10:00] ` before each line.
    pub stamps: bool,
    /// Terminal control bytes are written as `.`, so that the log can be read on a terminal without harm.
    pub replace_escape: bool,
    /// Bytes after which the file is put aside as `NAME.log.1` and begun anew. 0: never.
    pub max_size: u64,
}

/// Turns a guest's bytes into what the log holds. It remembers only whether a line has begun.
#[derive(Debug)]
struct Scribe {
    style: Style,
    in_line: bool,
}

impl Scribe {
    /// Appends `bytes` to `out`, with `stamp` before each line that begins in them.
    fn write(&mut self, bytes: &[u8], stamp: &str, out: &mut Vec<u8>) {
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            if self.style.stamps && !self.in_line {
                out.extend(stamp.as_bytes());
            }
            self.in_line = !line.ends_with(b"\n");
            if self.style.replace_escape {
                out.extend(line.iter().map(|&byte| if byte == 0x1b { b'.' } else { byte }));
            } else {
                out.extend(line);
            }
        }
    }
}

/// An open log file.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    size: u64,
    scribe: Scribe,
}

impl Log {
    /// Opens `path` for appending; its directory is made if it is missing.
    pub fn open(path: PathBuf, style: Style) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file = append_to(&path)?;
        let size = file.metadata()?.len();
        let mut log = Self {
            path,
            file,
            size,
            scribe: Scribe { style, in_line: false },
        };
        if style.stamps {
            log.write(b"Logfile Opened\n")?;
        }
        Ok(log)
    }

    /// Writes all of `bytes`, or says why not. A file that has grown too large is put aside before.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let max_size = self.scribe.style.max_size;
        if max_size > 0 && self.size > max_size && !self.scribe.in_line {
            self.put_aside()?;
        }
        let stamp = if self.scribe.style.stamps {
            stamp_now()
        } else {
            String::new()
        };
        let mut text = Vec::with_capacity(bytes.len() + 64);
        let before = self.scribe.in_line;
        self.scribe.write(bytes, &stamp, &mut text);
        self.file
            .write_all(&text)
            .inspect_err(|_| self.scribe.in_line = before)?;
        self.size += text.len() as u64;
        Ok(())
    }

    /// Opens the path anew: somebody has moved the file away (log rotation).
    pub fn reopen(&mut self) -> io::Result<()> {
        self.file = append_to(&self.path)?;
        self.size = self.file.metadata()?.len();
        Ok(())
    }

    /// Where the log is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn put_aside(&mut self) -> io::Result<()> {
        let mut old = self.path.clone().into_os_string();
        old.push(".1");
        fs::rename(&self.path, &old)?;
        self.reopen()
    }
}

/// Opens a file for appending, never through a symbolic link, readable by root and its group.
fn append_to(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640);
    options.custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits() | nix::fcntl::OFlag::O_CLOEXEC.bits());
    options.open(path)
}

/// The local time, as it stands before a line.
pub fn stamp_now() -> String {
    Zoned::now().strftime("[%Y-%m-%d %H:%M:%S] ").to_string()
}

/// A guest's name as part of a file name: no path separators, no control bytes, no leading dot, not too long.
pub fn file_name(name: &str) -> String {
    let safe = |c: char| if c == '/' || c.is_control() { '_' } else { c };
    let mut out = String::new();
    for (index, c) in name.chars().map(safe).enumerate() {
        if out.len() + c.len_utf8() > 200 {
            break;
        }
        out.push(if index == 0 && c == '.' { '_' } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: Style = Style {
        stamps: false,
        replace_escape: false,
        max_size: 0,
    };

    fn scribble(style: Style, pieces: &[&[u8]]) -> String {
        let mut scribe = Scribe { style, in_line: false };
        let mut out = Vec::new();
        for piece in pieces {
            scribe.write(piece, "[t] ", &mut out);
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn each_line_has_one_stamp_however_it_comes() {
        let style = Style { stamps: true, ..PLAIN };
        assert_eq!(
            scribble(style, &[b"a", b"b\r\nc\n", b"", b"\n", b"d"]),
            "[t] ab\r\n[t] c\n[t] \n[t] d"
        );
        assert_eq!(scribble(PLAIN, &[b"a", b"b\nc"]), "ab\nc");
    }

    #[test]
    fn escapes_are_replaced_if_asked_for() {
        let style = Style {
            replace_escape: true,
            ..PLAIN
        };
        assert_eq!(scribble(style, &[b"\x1b[2Jhi"]), ".[2Jhi");
    }

    #[test]
    fn a_log_goes_on_where_it_stood() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("deep/guest-a.log");
        for word in ["one\n", "two\n"] {
            Log::open(path.clone(), PLAIN)
                .expect("opens")
                .write(word.as_bytes())
                .expect("writes");
        }
        assert_eq!(fs::read_to_string(&path).expect("reads"), "one\ntwo\n");
    }

    #[test]
    fn a_large_log_is_put_aside_at_a_line_s_end() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("guest-a.log");
        let mut log = Log::open(path.clone(), Style { max_size: 4, ..PLAIN }).expect("opens");
        for piece in ["12345", "6\n", "new\n"] {
            log.write(piece.as_bytes()).expect("writes");
        }
        assert_eq!(
            fs::read_to_string(dir.path().join("guest-a.log.1")).expect("reads"),
            "123456\n"
        );
        assert_eq!(fs::read_to_string(&path).expect("reads"), "new\n");
    }

    #[test]
    fn a_moved_log_is_begun_anew() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("guest-a.log");
        let mut log = Log::open(path.clone(), PLAIN).expect("opens");
        fs::rename(&path, dir.path().join("old")).expect("renames");
        log.reopen().expect("reopens");
        log.write(b"x\n").expect("writes");
        assert_eq!(fs::read_to_string(log.path()).expect("reads"), "x\n");
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (link, target) = (dir.path().join("guest-a.log"), dir.path().join("target"));
        std::os::unix::fs::symlink(&target, &link).expect("links");
        assert!(Log::open(link, PLAIN).is_err());
        assert!(!target.exists());
    }

    proptest! {
        #[test]
        fn stamps_change_nothing_else(bytes in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..300), cut in 0usize..300) {
            let cut = cut.min(bytes.len());
            let mut scribe = Scribe { style: Style { stamps: true, ..PLAIN }, in_line: false };
            let mut out = Vec::new();
            scribe.write(&bytes[..cut], "", &mut out);
            scribe.write(&bytes[cut..], "", &mut out);
            prop_assert_eq!(out, bytes);
        }

        #[test]
        fn a_name_stays_in_its_directory(name in any::<String>()) {
            let file = file_name(&name);
            prop_assert!(!file.contains('/') && !file.starts_with('.') && file.len() <= 200);
            prop_assert!(!file.chars().any(char::is_control));
        }
    }
}
