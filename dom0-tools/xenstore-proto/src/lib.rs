//! Xenstore's wire format as `xen/io/xs_wire.h` and `docs/misc/xenstore.txt` of Xen 4.17 give it, without any I/O.
//!
//! A message is a [`Header`] of 16 bytes and at most [`PAYLOAD_MAX`] bytes, over a socket or over a [`ring`] that a
//! domain shares with the daemon. [`path`] holds the rules for names, [`perm`] those for access lists.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod error;
mod header;
mod kind;
mod parts;
pub mod path;
mod payload;
pub mod perm;
pub mod ring;

pub use error::Error;
pub use header::{Header, Oversized, append_message, split_message};
pub use kind::Kind;
pub use parts::PartList;
pub use payload::{append_part, fields, first_field, parse_number, split_value};
pub use perm::{Access, Permission};

/// The longest payload of a message in either direction, in bytes.
pub const PAYLOAD_MAX: usize = 4096;
/// The longest absolute path, in bytes.
pub const ABSOLUTE_PATH_MAX: usize = 3072;
/// The longest relative path, in bytes.
pub const RELATIVE_PATH_MAX: usize = 2048;
/// Payload of a successful reply that has nothing else to say.
pub const OK: &[u8] = b"OK\0";
/// A watch on this name is told when a domain is introduced.
pub const INTRODUCE_DOMAIN: &str = "@introduceDomain";
/// A watch on this name is told when a domain shuts down, crashes, or goes away.
pub const RELEASE_DOMAIN: &str = "@releaseDomain";
/// Where the daemon listens, unless the environment's `XENSTORED_PATH` says otherwise.
pub const SOCKET: &str = "/run/xenstored/socket";
