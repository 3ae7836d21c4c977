//! Rules for names of nodes.

use crate::{ABSOLUTE_PATH_MAX, RELATIVE_PATH_MAX};

/// Which bytes may stand in a path.
const PATH_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'-' | b'/' | b'_' | b'@');
        byte += 1;
    }
    table
};

/// Whether this absolute name is well formed: begins with `/`, has no empty component, no `/` at its end unless it is
/// the root, and only permitted characters. With `special`, a name that begins with `@` is allowed, too.
pub fn is_valid(path: &[u8], special: bool) -> bool {
    let start = match path.first() {
        Some(b'/') => true,
        Some(b'@') => special,
        _ => false,
    };
    if !start || path.len() > ABSOLUTE_PATH_MAX {
        return false;
    }
    let mut good = true;
    let mut previous = 0;
    for &byte in path {
        good &= PATH_BYTES[usize::from(byte)] & !(byte == b'/' && previous == b'/');
        previous = byte;
    }
    good && (previous != b'/' || path.len() == 1)
}

/// Whether a name is one of those that begin with `@`, which only watches and their access lists know.
pub fn is_special(path: &[u8]) -> bool {
    path.first() == Some(&b'@')
}

/// Whether a name needs a domain's path in front of it.
pub fn is_relative(path: &[u8]) -> bool {
    !matches!(path.first(), Some(b'/' | b'@'))
}

/// Whether `path` is within what an unprivileged client may use: [`RELATIVE_PATH_MAX`] bytes behind a domain's own
/// directory.
pub fn is_short_enough(path: &[u8], limit: usize) -> bool {
    let limit = limit.min(RELATIVE_PATH_MAX);
    path.len() <= limit || path.len() - domain_prefix(path) <= limit
}

/// Bytes of a leading `/local/domain/N/`, or 0.
fn domain_prefix(path: &[u8]) -> usize {
    let Some(rest) = path.strip_prefix(b"/local/domain/") else {
        return 0;
    };
    let digits = rest.iter().take(5).take_while(|byte| byte.is_ascii_digit()).count();
    if digits > 0 && rest.get(digits) == Some(&b'/') {
        path.len() - rest.len() + digits + 1
    } else {
        0
    }
}

/// The components of an absolute path; none for the root.
pub fn components(path: &[u8]) -> Components<'_> {
    Components { rest: path }
}

/// See [`components`].
#[derive(Clone, Debug)]
pub struct Components<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Components<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        while let [b'/', tail @ ..] = self.rest {
            self.rest = tail;
        }
        if self.rest.is_empty() {
            return None;
        }
        let end = self
            .rest
            .iter()
            .position(|&byte| byte == b'/')
            .unwrap_or(self.rest.len());
        let (name, tail) = self.rest.split_at(end);
        self.rest = tail;
        Some(name)
    }
}

/// The path of the node above, or none for the root.
pub fn parent(path: &[u8]) -> Option<&[u8]> {
    if path.len() <= 1 {
        return None;
    }
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(0) => Some(&path[..1]),
        Some(at) => Some(&path[..at]),
        None => None,
    }
}

/// The last component; empty for the root.
pub fn leaf(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

/// Whether `path` is `ancestor` or lies below it, by names alone.
pub fn is_within(path: &[u8], ancestor: &[u8]) -> bool {
    if ancestor == b"/" {
        return path.first() == Some(&b'/');
    }
    match path.strip_prefix(ancestor) {
        Some(rest) => rest.is_empty() || rest[0] == b'/',
        None => false,
    }
}
