//! The store: a tree of small values with access lists, watches and transactions, for local clients and for domains
//! behind rings; without an operating system below it.
//!
//! [`daemon::Daemon`] is all of its state. Whoever embeds it implements [`platform::Platform`] and turns the crank: hand
//! a client's bytes to [`handle_messages`](daemon::Daemon::handle_messages) or have
//! [`serve_ring`](daemon::Daemon::serve_ring) fetch them, then send what each [touched](daemon::Daemon::touched) client
//! has as output. `xenstored` does that with sockets and keeps [`record`]s of each change as its journal; a domain that
//! serves the store to its guests and to itself uses [`daemon::Daemon::run_round`] and
//! [`daemon::Daemon::call`].
//!
//! The tree shares nodes between copies, so that a transaction begins in no time and changes cost the same in a small
//! and in a large store.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod access;
pub mod connection;
pub mod daemon;
mod embed;
pub mod output;
pub mod platform;
pub mod quota;
pub mod record;
pub mod request;
mod ring;

pub mod space;
pub mod state;
pub mod transaction;
pub mod tree;
pub mod watch;

pub use embed::LocalClient;
