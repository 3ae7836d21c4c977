//! Access lists: the first entry names the owner and what everybody may do, each further one what one domain may do.

use alloc::string::ToString;
use alloc::vec::Vec;

use crate::{Error, append_part, fields, parse_number};

/// What a domain may do with a node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Access {
    /// `n`: nothing.
    None,
    /// `r`: read.
    Read,
    /// `w`: write.
    Write,
    /// `b`: read and write.
    Both,
}

impl Access {
    /// The letter on the wire.
    pub fn letter(self) -> u8 {
        match self {
            Access::None => b'n',
            Access::Read => b'r',
            Access::Write => b'w',
            Access::Both => b'b',
        }
    }

    /// The access of a letter.
    pub fn from_letter(letter: u8) -> Option<Access> {
        Some(match letter {
            b'n' => Access::None,
            b'r' => Access::Read,
            b'w' => Access::Write,
            b'b' => Access::Both,
            _ => return None,
        })
    }

    /// Whether it includes reading.
    pub fn reads(self) -> bool {
        matches!(self, Access::Read | Access::Both)
    }

    /// Whether it includes writing.
    pub fn writes(self) -> bool {
        matches!(self, Access::Write | Access::Both)
    }
}

/// One entry of an access list.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Permission {
    /// The domain.
    pub domain: u16,
    /// What it may do; in the first entry, what all domains without an entry may do.
    pub access: Access,
}

impl Permission {
    /// An entry for a domain.
    pub fn new(domain: u16, access: Access) -> Permission {
        Permission { domain, access }
    }

    /// Reads an entry such as `r5`.
    pub fn parse(text: &[u8]) -> Result<Permission, Error> {
        let (&letter, digits) = text.split_first().ok_or(Error::EINVAL)?;
        let access = Access::from_letter(letter).ok_or(Error::EINVAL)?;
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(Error::EINVAL);
        }
        let domain = u16::try_from(parse_number(digits)).map_err(|_| Error::EINVAL)?;
        Ok(Permission { domain, access })
    }
}

impl core::fmt::Display for Permission {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}{}", char::from(self.access.letter()), self.domain)
    }
}

/// Reads a list of entries, each ended by a zero byte.
pub fn parse_list(payload: &[u8]) -> Result<Vec<Permission>, Error> {
    fields(payload).map(Permission::parse).collect()
}

/// Appends a list as it stands on the wire.
pub fn append_list(out: &mut Vec<u8>, list: &[Permission]) {
    for entry in list {
        append_part(out, entry.to_string().as_bytes());
    }
}
