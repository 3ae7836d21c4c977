//! Rules for names of nodes.

use crate::{ABSOLUTE_PATH_MAX, RELATIVE_PATH_MAX};

/// Whether a byte may stand in a path.
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'/' | b'_' | b'@')
}

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
    let mut previous = 0;
    for &byte in path {
        if !is_path_byte(byte) || (byte == b'/' && previous == b'/') {
            return false;
        }
        previous = byte;
    }
    previous != b'/' || path.len() == 1
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
    path.len() - domain_prefix(path) <= limit.min(RELATIVE_PATH_MAX)
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
pub fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|part| !part.is_empty())
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
