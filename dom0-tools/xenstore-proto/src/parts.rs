//! Lists of children that do not fit into one message (`DIRECTORY_PART`).

use alloc::vec::Vec;

use crate::split_value;

/// Longest list that is believed, in bytes.
const MOST_BYTES: usize = 16 << 20;
/// How often a list may change while it is read.
const MOST_CHANGES: u32 = 1000;

/// A list of children as far as its parts have come. It is read from the start again when it changes meanwhile.
#[derive(Clone, Debug, Default)]
pub struct PartList {
    list: Vec<u8>,
    generation: Vec<u8>,
    changes: u32,
}

impl PartList {
    /// The offset to ask for next.
    pub fn offset(&self) -> usize {
        self.list.len()
    }

    /// Takes the answer for that offset; true when the list is whole. None where the answer is malformed, or where the
    /// answers would go on for ever.
    pub fn take(&mut self, answer: &[u8]) -> Option<bool> {
        let (generation, part) = split_value(answer)?;
        if self.list.is_empty() {
            self.generation = generation.to_vec();
        } else if self.generation != generation {
            self.list.clear();
            self.changes += 1;
            return (self.changes <= MOST_CHANGES).then_some(false);
        }
        self.list.extend_from_slice(part);
        if part.is_empty() {
            return Some(true);
        }
        // An empty name ends the list.
        if part == [0] || part.ends_with(&[0, 0]) {
            self.list.pop();
            return Some(true);
        }
        (self.list.len() <= MOST_BYTES).then_some(false)
    }

    /// The list: names, each with its zero byte.
    pub fn into_list(self) -> Vec<u8> {
        self.list
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;

    use super::*;

    /// Reads with these answers; none where the reader gives up.
    fn read(answers: impl IntoIterator<Item = Vec<u8>>) -> Option<(Vec<u8>, usize)> {
        let mut parts = PartList::default();
        for (asked, answer) in answers.into_iter().enumerate() {
            if parts.take(&answer)? {
                return Some((parts.into_list(), asked + 1));
            }
        }
        panic!("it wants more, at {}", parts.offset());
    }

    fn answers(list: &[&[u8]]) -> Vec<Vec<u8>> {
        list.iter().map(|answer| answer.to_vec()).collect()
    }

    #[test]
    fn parts_are_put_together_until_the_empty_name() {
        let whole = |list: &[&[u8]]| read(answers(list)).map(|(list, _)| list);
        assert_eq!(whole(&[b"7\0a\0b\0", b"7\0c\0\0"]).as_deref(), Some(&b"a\0b\0c\0"[..]));
        assert_eq!(whole(&[b"7\0a\0b\0", b"7\0\0"]).as_deref(), Some(&b"a\0b\0"[..]));
        assert_eq!(whole(&[b"7\0a\0", b"7\0"]).as_deref(), Some(&b"a\0"[..]));
        assert_eq!(whole(&[b"7\0\0"]).as_deref(), Some(&b""[..]));
        // It changed meanwhile.
        let changed: [&[u8]; 4] = [b"7\0a\0b\0", b"8\0c\0\0", b"8\0a\0", b"8\0c\0\0"];
        assert_eq!(read(answers(&changed)), Some((b"a\0c\0".to_vec(), 4)));
        assert_eq!(whole(&[b"no zero byte"]), None);
    }

    #[test]
    fn no_daemon_makes_it_read_for_ever() {
        assert_eq!(read((0u32..).map(|n| vec![b'0' + (n % 2) as u8, 0, b'a', 0])), None);
        let long = vec![b'a'; 4000];
        assert_eq!(read((0..).map(|_| [&b"7\0"[..], &long, &[0]].concat())), None);
    }
}
