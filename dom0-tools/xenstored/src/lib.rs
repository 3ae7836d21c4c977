//! xenstored: keeps the store, a tree of small values with access lists, watches and transactions, for the processes of
//! this domain (over a socket) and for other domains (over rings in shared memory).
//!
//! The store itself is the crate `xenstore-core`. Here is what a daemon of Dom0 has around it: the loop over sockets and
//! event channels, the journal, and the update in place. One thread does everything, in rounds
//! ([`server::Server::round`]): it takes what clients have sent, has it carried out on the tree, tells the journal
//! ([`recovery::journal`]) what changed, and only then answers. So whatever a client was told outlives the daemon.
#![forbid(unsafe_code)]

pub mod host;
pub mod recovery;
pub mod server;

pub use xenstore_core::{access, output, quota, record, request, space, transaction, tree, watch};

/// The store's state, on this platform.
pub mod daemon {
    pub use xenstore_core::daemon::*;

    /// All of the daemon's state, around a [`Host`](crate::host::Host).
    pub type Daemon = xenstore_core::daemon::Daemon<Box<dyn crate::host::Host>>;
}

/// Clients, on this platform.
pub mod connection {
    pub use xenstore_core::connection::*;

    /// A client: at a socket, or at a ring.
    pub type Connection = xenstore_core::connection::Connection<Box<dyn crate::host::Host>>;
}
