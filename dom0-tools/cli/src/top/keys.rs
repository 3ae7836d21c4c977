//! Keys, from the bytes that a terminal sends.

/// A key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// A character.
    Char(char),
    /// Arrow up.
    Up,
    /// Arrow down.
    Down,
    /// Arrow left.
    Left,
    /// Arrow right.
    Right,
    /// Escape by itself.
    Escape,
    /// ctrl-C.
    Interrupt,
}

/// The keys in `bytes`. What is not known is left out: terminals send many things.
pub fn parse(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            0x1b if after.is_empty() => keys.push(Key::Escape),
            0x1b if matches!(after[0], b'[' | b'O') => rest = parse_sequence(&after[1..], &mut keys),
            // A key with alt: the key counts.
            0x1b => {}
            3 => keys.push(Key::Interrupt),
            b' '..=b'~' => keys.push(Key::Char(char::from(*first))),
            _ => {}
        }
    }
    keys
}

/// Takes a sequence after `ESC [`: parameters, then one final byte.
fn parse_sequence<'a>(bytes: &'a [u8], keys: &mut Vec<Key>) -> &'a [u8] {
    let Some(end) = bytes.iter().position(|byte| (0x40..=0x7e).contains(byte)) else {
        return &[];
    };
    match (end, bytes[end]) {
        (0, b'A') => keys.push(Key::Up),
        (0, b'B') => keys.push(Key::Down),
        (0, b'C') => keys.push(Key::Right),
        (0, b'D') => keys.push(Key::Left),
        _ => {}
    }
    &bytes[end + 1..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_told_apart() {
        assert_eq!(parse(b"q"), [Key::Char('q')]);
        assert_eq!(parse(b"\x1b[A\x1bOBx"), [Key::Up, Key::Down, Key::Char('x')]);
        assert_eq!(parse(b"\x1b[1;5Cx"), [Key::Char('x')], "ctrl-right is not known");
        assert_eq!(parse(b"\x1b"), [Key::Escape]);
        assert_eq!(parse(b"\x03\x00\xff"), [Key::Interrupt]);
        assert_eq!(parse(b"\x1b["), []);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            prop_assert!(parse(&bytes).len() <= bytes.len());
        }
    }
}
