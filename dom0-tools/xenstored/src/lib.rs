//! xenstored: keeps the store, a tree of small values with access lists, watches and transactions, for the processes of
//! this domain (over a socket) and for other domains (over rings in shared memory).
//!
//! One thread does everything, in rounds ([`server::Server::round`]): it takes what clients have sent, carries it out
//! ([`request`]) on the tree ([`tree`]), tells the journal ([`recovery::journal`]) what changed, and only then answers.
//! So whatever a client was told outlives the daemon. The tree shares nodes between copies, so that a transaction begins
//! in no time and changes cost the same in a small and in a large store.
#![forbid(unsafe_code)]

pub mod access;
pub mod connection;
pub mod daemon;
pub mod host;
pub mod output;
pub mod quota;
pub mod record;
pub mod recovery;
pub mod request;
mod ring;
pub mod server;
pub mod space;
pub mod transaction;
pub mod tree;
pub mod watch;
