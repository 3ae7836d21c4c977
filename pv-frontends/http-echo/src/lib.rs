//! What the network guest serves, and what its counterpart checks: HTTP over smoltcp, on any device.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | a greeting |
//! | `POST /echo` | the body |
//! | `POST /md5` | the body's MD5, in hexadecimal |
//! | `GET /data/N` | N bytes of a pattern |
//! | `GET /md5/N` | that pattern's MD5 |
//! | `GET /end` | a farewell; then [`Server::is_ended`] |
#![no_std]

extern crate alloc;

mod client;
mod connection;
mod pattern;
mod request;
mod server;

pub use client::{Client, Outcome};
pub use pattern::{Pattern, md5_of_pattern};
pub use server::Server;

use alloc::string::String;
use core::fmt::Write;

/// A digest in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // A string takes everything.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
